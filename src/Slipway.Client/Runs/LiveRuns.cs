using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>Runs that have not ended, so that they are safe on disk however the process ends.</summary>
internal static class LiveRuns
{
    private static readonly TimeSpan ExitTimeout = TimeSpan.FromSeconds(2);
    private static readonly ConcurrentDictionary<ActiveRun, bool> Runs = [];
    private static readonly PosixSignalRegistration[] Signals = Hook();

    public static void Add(ActiveRun run)
    {
        Runs[run] = true;
        GC.KeepAlive(Signals);
    }

    public static void Remove(ActiveRun run) => Runs.TryRemove(run, out _);

    private static PosixSignalRegistration[] Hook()
    {
        AppDomain.CurrentDomain.UnhandledException += (_, failure) =>
        {
            foreach (var run in Runs.Keys)
            {
                run.EndInJournal(RunStatus.Failed, failure.ExceptionObject is Exception e ? $"{e.GetType().Name}: {e.Message}" : "The process ended by an unhandled exception.");
            }
        };
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Task.WhenAll(
            Runs.Keys.Select(run => run.EndAsync(RunStatus.Killed, "The process ended before its run was ended.", ExitTimeout))).GetAwaiter().GetResult();
        // The program may go on after these: what it logged is saved, and the run is not ended.
        return [.. ((PosixSignal[])[PosixSignal.SIGINT, PosixSignal.SIGQUIT, PosixSignal.SIGHUP]).Select(signal => PosixSignalRegistration.Create(signal, _ =>
        {
            foreach (var run in Runs.Keys)
            {
                run.FlushNow();
            }
        }))];
    }
}
