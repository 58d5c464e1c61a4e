namespace Slipway.Cli.Import;

/// <summary>What an import found, brought over and left behind.</summary>
/// <param name="Source">What was read.</param>
/// <param name="Target">The server written to.</param>
/// <param name="DryRun">Whether only counts were taken.</param>
/// <param name="Complete">Whether all that the source holds is in the target.</param>
/// <param name="Kinds">Counts by kind.</param>
/// <param name="Experiments">Experiments whose id or name is another here, or that were here before.</param>
/// <param name="RunsWritten">Runs written by this call.</param>
/// <param name="RunsAlreadyThere">Runs that an earlier call had brought over whole.</param>
/// <param name="Differences">What differs, one sentence each; at most a hundred.</param>
/// <param name="DifferencesInAll">How many there are.</param>
/// <param name="Seconds">Time taken.</param>
internal sealed record ImportReport(
    string Source, string Target, bool DryRun, bool Complete, IReadOnlyList<KindCount> Kinds, IReadOnlyList<ExperimentMapping> Experiments,
    long RunsWritten, long RunsAlreadyThere, IReadOnlyList<string> Differences, long DifferencesInAll, double Seconds);

/// <summary>Counts of one kind.</summary>
/// <param name="Kind">Such as <c>runs</c>.</param>
/// <param name="Source">In the source.</param>
/// <param name="Target">Found in the target with the same content; null in a dry run.</param>
/// <param name="Note">Why it is not imported; null when it is.</param>
/// <param name="Equal">Whether the two are equal, or the kind was left behind on request.</param>
internal sealed record KindCount(string Kind, long Source, long? Target, string? Note, bool Equal);

/// <summary>Where an experiment went.</summary>
/// <param name="SourceId">Its id in the source.</param>
/// <param name="ExperimentId">Its id here.</param>
/// <param name="Name">Its name.</param>
/// <param name="Note">What is to know of it.</param>
internal sealed record ExperimentMapping(string SourceId, string ExperimentId, string Name, string Note);
