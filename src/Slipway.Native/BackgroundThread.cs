using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Slipway.Native;

/// <summary>Work that should take only the processor time that requests leave.</summary>
public static partial class BackgroundThread
{
    private const int Nice = 10; // About a tenth of the share of a thread that answers requests, where both want the processor.

    /// <summary>Runs the work on a thread of its own, which on Linux yields to the other threads; elsewhere it is a thread like any other. Blocks meanwhile.</summary>
    /// <remarks>
    /// The caller waits, and nothing is continued on that thread: threads that it made, such as the thread pool's, would be as slow as itself for good. Work must not start any either.
    /// </remarks>
    public static void Run(Action work)
    {
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            if (OperatingSystem.IsLinux())
            {
                // .NET's own thread priorities do nothing on Linux, where 0 names the calling thread and not the process.
                _ = SetPriority(which: 0, who: 0, Nice);
            }

            try
            {
                work();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        })
        { IsBackground = true, Name = "background work" };
        thread.Start();
        thread.Join();
        failure?.Throw();
    }

    // https://man7.org/linux/man-pages/man2/setpriority.2.html
    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, uint who, int priority);
}
