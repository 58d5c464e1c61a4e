using System.Security.Cryptography;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Cli.Import;

/// <summary>The Slipway server that is written to, by calls that may be repeated; what it refuses for the moment is sent again.</summary>
internal sealed class ImportTarget(SlipwayClient client, TimeSpan firstPause)
{
    private const int AttemptsMax = 6;

    public Uri Server => client.Server;

    /// <summary>The experiment of this name, deleted ones too; null when there is none.</summary>
    public async Task<MlflowExperiment?> FindExperimentAsync(string name, CancellationToken ct)
    {
        try
        {
            var found = await Repeat(() => client.GetAsync<ExperimentResponse>($"/api/2.0/mlflow/experiments/get-by-name?experiment_name={Uri.EscapeDataString(name)}", ct), ct);
            return found.Experiment;
        }
        catch (SlipwayException e) when (e.Code == ErrorCode.NotFound)
        {
            return null;
        }
    }

    public Task<PutExperimentResult> PutAsync(PutExperiment experiment, CancellationToken ct) =>
        Repeat(() => client.PutExperimentAsync(experiment, ct), ct);

    /// <summary>The run; null when there is none.</summary>
    public async Task<RunRecord?> FindRunAsync(string runId, CancellationToken ct)
    {
        try
        {
            return await Repeat(() => client.GetAsync<RunRecord>($"runs/{Uri.EscapeDataString(runId)}", ct), ct);
        }
        catch (SlipwayException e) when (e.Code == ErrorCode.NotFound)
        {
            return null;
        }
    }

    public Task<PutRunResult> PutAsync(string runId, PutRun run, CancellationToken ct) =>
        Repeat(() => client.PutRunAsync(runId, run, ct), ct);

    public Task AddInputsAsync(string runId, IReadOnlyList<RunInput> inputs, CancellationToken ct) => Repeat(async () =>
    {
        await client.AddInputsAsync(runId, inputs, ct);
        return true;
    }, ct);

    /// <summary>How many points the run has.</summary>
    public async Task<long> CountPointsAsync(string runId, CancellationToken ct) =>
        (await Repeat(() => client.CountMetricsAsync(runId, ct), ct)).Sum(metric => metric.Points);

    public Task AddPointsAsync(string runId, IReadOnlyList<MetricPoint> points, CancellationToken ct) => Repeat(() => client.AddMetricsAsync(runId, points, ct), ct);

    /// <summary>Sends a file; the digest of what was sent must be that of what was stored.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the path is not a clean relative one; FailedPrecondition: the bytes changed on the way.</exception>
    public Task PutFileAsync(string runId, SourceFile file, CancellationToken ct)
    {
        var parts = file.Path.Split('/');
        if (parts.Any(part => part is "" or "." or ".."))
        {
            // An address folds such parts away: the file would go to another place.
            throw new SlipwayException(ErrorCode.InvalidArgument, $"the file '{file.Path}' does not lie below the run's folder");
        }

        return Repeat(async () =>
        {
            await using var bytes = await file.Open(ct);
            using var sha256 = SHA256.Create();
            await using var hashed = new CryptoStream(bytes, sha256, CryptoStreamMode.Read);
            var stored = await client.PutArtifactAsync(runId, file.Path, hashed, null, ct);
            var sent = Convert.ToHexStringLower(sha256.Hash!);
            return stored.Sha256 == sent
                ? stored
                : throw new SlipwayException(ErrorCode.FailedPrecondition, $"the file '{file.Path}' has the digest {sent}, but was stored as {stored.Sha256}");
        }, ct);
    }

    private async Task<T> Repeat<T>(Func<Task<T>> send, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await send();
            }
            catch (Exception e) when (attempt < AttemptsMax && e is ServerUnreachableException or IOException or SlipwayException { Code: ErrorCode.Unavailable or ErrorCode.ResourceExhausted })
            {
                await Task.Delay(firstPause * Math.Pow(2, attempt - 1), ct);
            }
        }
    }
}
