using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    private const int LoadTestStepsMax = 100;

    /// <summary>Keeps a load test with the version it measured.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: figures that no load test has.</exception>
    public async Task<LoadTest> AddLoadTestAsync(string model, string version, LoadTest test, Caller by, CancellationToken cancellationToken)
    {
        CheckLoadTest(test);
        var record = Get(model, version);
        return await database.WriteAsync(transaction =>
        {
            var stored = test with { MeasuredAt = transaction.Now, MeasuredBy = by.Name };
            var number = transaction.Connection.ExecuteScalar<long>(
                "SELECT COALESCE(MAX(number), 0) + 1 FROM version_load_tests WHERE model = @Model AND version = @Version", new { record.Model, record.Version });
            transaction.Connection.Execute(
                "INSERT INTO version_load_tests (model, version, number, report, measured_at_ms, measured_by) VALUES (@Model, @Version, @number, @json, @now, @by)",
                new { record.Model, record.Version, number, json = JsonSerializer.Serialize(stored, JsonDefaults.Options), now = transaction.NowMs, by = by.Name });
            transaction.Audit(by, "model_version.load_tested", record.Node, null, null, new { stored.SafeRate, stored.P95MsMax, stored.ErrorShareMax, steps = stored.Steps.Count });
            return stored;
        }, cancellationToken);
    }

    /// <summary>A version's load tests, newest first.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public IReadOnlyList<LoadTest> LoadTests(string model, string version)
    {
        var record = Get(model, version);
        return database.Read(connection => LoadTests(connection, record.Model, record.Version, limit: 1000));
    }

    private static IReadOnlyList<LoadTest> LoadTests(DbConnection connection, string model, string version, int limit) =>
        [.. connection.Query<string>("SELECT report FROM version_load_tests WHERE model = @model AND version = @version ORDER BY number DESC LIMIT @limit", new { model, version, limit })
            .Select(json => JsonSerializer.Deserialize<LoadTest>(json, JsonDefaults.Options)!)];

    private static void CheckLoadTest(LoadTest test)
    {
        static bool IsFigure(double value) => value >= 0 && double.IsFinite(value); // False for NaN too.
        var fault = test.Steps is not { Count: > 0 and <= LoadTestStepsMax } ? $"'steps' must hold 1 to {LoadTestStepsMax} steps"
            : !IsFigure(test.P95MsMax) || test.P95MsMax == 0 ? "'p95_ms_max' must be a number of milliseconds above 0"
            : !IsFigure(test.ErrorShareMax) || test.ErrorShareMax > 1 ? "'error_share_max' must be a share from 0 to 1"
            : !IsFigure(test.StepSeconds) || test.StepSeconds == 0 ? "'step_seconds' must be a number above 0"
            : string.IsNullOrWhiteSpace(test.Request) || test.Request.Length > 250 ? "'request' must say in 1 to 250 characters what was sent"
            : test.Steps.Any(step => step is null || !new[] { step.AchievedRate, step.P50Ms, step.P95Ms, step.P99Ms, step.P999Ms, step.SendDelayP99Ms }.All(IsFigure)
                || !IsFigure(step.Rate) || step.Rate == 0 || step.Requests < 0 || step.Errors < 0 || step.Errors > step.Requests)
                ? "'steps' must hold finite figures of at least 0, a 'rate' above 0, and no more 'errors' than 'requests'"
            : test.SafeRate is { } safe && !test.Steps.Any(step => step.Rate == safe && step.Held) ? "'safe_rate' must be the rate of a step that 'held', or be left out"
            : null;
        if (fault is not null)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{fault}; 'slipway loadtest' sends such a report.");
        }
    }
}
