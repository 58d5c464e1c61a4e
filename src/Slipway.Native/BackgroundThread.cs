using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Slipway.Native;

/// <summary>Work that should take only the processor time that requests leave.</summary>
public static partial class BackgroundThread
{
    private const int Nicer = 5; // About a third of the share of a thread that answers requests, where both want the processor.

    /// <summary>Runs the work on a thread of its own, which on Linux yields to the other threads; elsewhere it is a thread like any other. Blocks meanwhile.</summary>
    /// <remarks>
    /// The caller waits, and nothing is continued on that thread: threads that are made on it, such as the thread pool's, give way as it does for as long as they live. The work should start none. What the
    /// runtime starts there by itself is why it gives way only mildly: the thread that compiles hot code anew, and a collection that waits for this one to stop.
    /// </remarks>
    public static void Run(Action work)
    {
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            if (OperatingSystem.IsLinux())
            {
                // .NET's own thread priorities do nothing on Linux, where this one is the calling thread's and not the process's.
                _ = Nice(Nicer);
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

    // https://man7.org/linux/man-pages/man2/nice.2.html
    [LibraryImport("libc", EntryPoint = "nice")]
    private static partial int Nice(int more);
}
