using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Slipway.Cli.Scoring;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Native.DuckDb;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Scoring;

[Trait("capability", "SRV-02")]
public sealed class FileScorerTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-score-").FullName;
    private ServingHost _host = null!;
    private SlipwayClient _client = null!;
    private Func<HttpContext, bool> _refuses = _ => false;
    private int _inferences;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Csv => Path.Combine(_folder, "flights.csv");

    public async ValueTask InitializeAsync()
    {
        _host = await ServingHost.StartAsync(null, app => app.Use(async (context, next) =>
        {
            if (context.Request.Path.Value!.EndsWith("/infer", StringComparison.Ordinal))
            {
                Interlocked.Increment(ref _inferences);
                if (_refuses(context))
                {
                    context.Response.StatusCode = 403;
                    return;
                }
            }

            await next(context);
        }));
        await _host.PutInProductionAsync((await _host.RegisterAsync()).Version);
        _client = new SlipwayClient(_host.Area.Client.BaseAddress!);
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _host.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_csv_keeps_its_columns_as_written_and_has_the_scores_that_single_requests_get()
    {
        await File.WriteAllTextAsync(Csv, "id,flight:distance,calendar:hour,note\n007,100,6,\"a, b\"\n008,2000.50,18,\n009,-300,0,x\n", Cancel);

        var result = await ScoreAsync(Csv, "scored.csv");

        var lines = await File.ReadAllLinesAsync(result.Output, Cancel);
        Assert.Equal("id,flight:distance,calendar:hour,note,prediction,model_version", lines[0]);
        Assert.StartsWith("007,100,6,\"a, b\",", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("008,2000.50,18,,", lines[2], StringComparison.Ordinal);
        Assert.Equal([await SingleAsync(100, 6), await SingleAsync(2000.5f, 18), await SingleAsync(-300, 0)], Rows(result.Output, "CAST(prediction AS FLOAT)").Select(row => (float)row[0]!));
        Assert.All(lines.Skip(1), line => Assert.EndsWith(",1.0.0", line, StringComparison.Ordinal));
        Assert.Equal((3, 0, 0), (result.Rows, result.FailedRows, result.ResumedRows));
        Assert.False(Directory.Exists(result.Output + ".parts"));
    }

    [Fact]
    public async Task Parquet_keeps_its_types_and_its_order_over_many_blocks_and_parts()
    {
        var input = Generate(20_000);

        var result = await ScoreAsync(input, "scored.parquet", job => job with { BlockRows = 2048, PartRows = 4096 });

        var rows = Rows(result.Output, "i, \"at\", prediction, model_version, typeof(list), typeof(prediction)");
        Assert.Equal(Enumerable.Range(0, 20_000), rows.Select(row => (int)(long)row[0]!));
        Assert.All(rows, row => Assert.Equal(("1.0.0", "INTEGER[]", "FLOAT"), ((string)row[3]!, (string)row[4]!, (string)row[5]!)));
        foreach (var i in (int[])[0, 2047, 2048, 9999, 19_999])
        {
            Assert.Equal(await SingleAsync(i % 3000, i % 24), (float)rows[i][2]!);
        }
    }

    [Fact]
    public async Task A_killed_job_goes_on_where_it_was_and_gives_the_same_file()
    {
        var input = Generate(20_000);
        var whole = await ScoreAsync(input, "whole.parquet", Small);
        Interlocked.Exchange(ref _inferences, 0);
        _refuses = _ => Volatile.Read(ref _inferences) > 5;
        await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(input, "scored.parquet", Small));
        // A process that is killed leaves half a part behind too.
        var parts = Path.Combine(_folder, "scored.parquet.parts");
        var complete = Directory.GetFiles(parts, "part-*.parquet").Length;
        Assert.InRange(complete, 1, 4);
        await File.WriteAllTextAsync(Path.Combine(parts, "part-00000009.parquet.new"), "half", Cancel);
        Assert.False(File.Exists(Path.Combine(_folder, "scored.parquet")));

        _refuses = _ => false;
        Interlocked.Exchange(ref _inferences, 0);
        var result = await ScoreAsync(input, "scored.parquet", Small);

        Assert.InRange(result.ResumedRows, 4096, 19_999);
        Assert.Equal((20_000 - result.ResumedRows + 2047) / 2048, Volatile.Read(ref _inferences));
        Assert.Equal(Rows(whole.Output, "i, prediction, model_version"), Rows(result.Output, "i, prediction, model_version"));
        Assert.Equal(await File.ReadAllBytesAsync(whole.Output, Cancel), await File.ReadAllBytesAsync(result.Output, Cancel));
    }

    [Fact]
    public async Task All_rows_have_one_version_though_production_changes_and_the_job_is_interrupted()
    {
        var input = Generate(20_000);
        _refuses = _ => Volatile.Read(ref _inferences) > 5;
        await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(input, "scored.parquet", Small));
        await _host.PutInProductionAsync((await _host.RegisterAsync(intercept: 3)).Version);
        _refuses = _ => false;

        var result = await ScoreAsync(input, "scored.parquet", Small);
        var fresh = await ScoreAsync(input, "fresh.parquet", Small);

        Assert.Equal(("1.0.0", "1.1.0"), (result.Version, fresh.Version));
        Assert.Equal([["1.0.0"]], Rows(result.Output, "DISTINCT model_version"));
        Assert.Equal([["1.1.0"]], Rows(fresh.Output, "DISTINCT model_version"));
    }

    [Fact]
    public async Task Parts_of_another_file_are_not_taken_for_this_one()
    {
        var input = Generate(20_000);
        _refuses = _ => Volatile.Read(ref _inferences) > 5;
        await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(input, "scored.parquet", Small));
        _refuses = _ => false;
        Generate(100);

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(input, "scored.parquet", Small));
        var result = await ScoreAsync(input, "scored.parquet", job => job with { Restart = true });

        Assert.Contains("--restart", refused.Message, StringComparison.Ordinal);
        Assert.Equal((100, 0), (result.Rows, result.ResumedRows));
    }

    [Fact]
    public async Task A_missing_column_is_refused_before_anything_is_scored_or_recorded()
    {
        await File.WriteAllTextAsync(Csv, "flight:distance,hour\n100,6\n", Cancel);

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(Csv, "scored.csv"));

        Assert.Equal(ErrorCode.InvalidArgument, refused.Code);
        Assert.StartsWith("The file has no column 'calendar:hour'", refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, Volatile.Read(ref _inferences));
        Assert.Equal([Csv], Directory.GetFileSystemEntries(_folder));
    }

    [Theory]
    [InlineData("", "Row 2: column 'calendar:hour' is empty, not a number")]
    [InlineData("noon", "Row 2: column 'calendar:hour' is 'noon', not a number")]
    [InlineData("nan", "Row 2: column 'calendar:hour' is 'nan', not a number")]
    public async Task A_row_that_the_model_refuses_ends_the_job_or_is_kept_with_its_reason(string cell, string message)
    {
        await File.WriteAllTextAsync(Csv, $"flight:distance,calendar:hour\n100,6\n200,{cell}\n300,7\n", Cancel);

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(Csv, "scored.csv"));
        Assert.StartsWith(message, refused.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_folder, "scored.csv")));

        var result = await ScoreAsync(Csv, "scored.csv", job => job with { KeepErrors = true });
        var lines = await File.ReadAllLinesAsync(result.Output, Cancel);
        Assert.Equal(($"200,{cell},,", 4), (lines[2], lines.Length));
        Assert.Equal(["row,reason", $"2,{(message[7..].Contains(',', StringComparison.Ordinal) ? $"\"{message[7..]}\"" : message[7..])}"], await File.ReadAllLinesAsync(result.ErrorsFile!, Cancel));
        Assert.Equal((3, 1), (result.Rows, result.FailedRows));
    }

    [Fact]
    public async Task The_run_says_what_was_scored_by_what_and_how_it_went()
    {
        await File.WriteAllTextAsync(Csv, "flight:distance,calendar:hour\n100,6\n200,\n300,7\n", Cancel);
        await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(Csv, "scored.csv"));
        var state = JsonSerializer.Deserialize<ScoreState>(await File.ReadAllTextAsync(Path.Combine(_folder, "scored.csv.parts", "state.json"), Cancel), JsonDefaults.Options)!;
        Assert.Equal(RunStatus.Failed, (await _client.GetRunAsync(state.RunId, Cancel)).Status);

        var result = await ScoreAsync(Csv, "scored.csv", job => job with { KeepErrors = true });

        var run = await _client.GetRunAsync(result.RunId, Cancel);
        Assert.Equal((state.RunId, RunStatus.Finished), (result.RunId, run.Status));
        Assert.Equal(["flight-delay", "1.0.0", result.InputSha256, "3"], new[] { "model", "version", "input_sha256", "rows" }.Select(name => run.Parameters[name]));
        var metrics = run.Metrics.ToDictionary(point => point.Key, point => point.Value);
        Assert.Equal((3, 1), (metrics["rows"], metrics["failed_rows"]));
        Assert.True(metrics["rows_per_second"] > 0);
        var input = Assert.Single(run.Inputs);
        Assert.Equal((Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(await File.ReadAllBytesAsync(Csv, Cancel))), "scoring", 3L), (input.Digest, input.Context, input.Rows));
    }

    [Fact]
    public async Task A_finished_file_is_not_written_over_unless_asked()
    {
        await File.WriteAllTextAsync(Csv, "flight:distance,calendar:hour\n100,6\n", Cancel);
        await ScoreAsync(Csv, "scored.csv");

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(Csv, "scored.csv"));
        await ScoreAsync(Csv, "scored.csv", job => job with { Overwrite = true });

        Assert.Contains("--overwrite", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_graph_with_a_table_without_names_takes_the_columns_it_is_told_and_gives_every_output()
    {
        await _host.RegisterTensorsAsync(TensorModels.Classifier(), "classes");
        await File.WriteAllTextAsync(Csv, "a,b\n1,0\n0,3\n", Cancel);

        var unnamed = await Assert.ThrowsAsync<SlipwayException>(() => ScoreAsync(Csv, "scored.csv", job => job with { Model = "classes", Version = "latest" }));
        var result = await ScoreAsync(Csv, "scored.parquet", job => job with { Model = "classes", Version = "latest", Columns = ["a", "b"] });

        Assert.Contains("--columns", unnamed.Message, StringComparison.Ordinal);
        var rows = Rows(result.Output, "prediction_label, prediction_probabilities_0, prediction_probabilities_1");
        Assert.Equal([0L, 1L], rows.Select(row => (long)row[0]!));
        Assert.Equal(1 / (1 + Math.Exp(-1)), (float)rows[0][1]!, 1e-5);
        Assert.Equal(1 / (1 + Math.Exp(-3)), (float)rows[1][2]!, 1e-5);
    }

    private static ScoreJob Small(ScoreJob job) => job with { BlockRows = 2048, PartRows = 4096 };

    private Task<ScoreResult> ScoreAsync(string input, string output, Func<ScoreJob, ScoreJob>? change = null)
    {
        var job = new ScoreJob(ServingHost.Model, null, input, Path.Combine(_folder, output));
        return new FileScorer(_client, change?.Invoke(job) ?? job, TimeProvider.System, (_, _, _) => { }).RunAsync(Cancel);
    }

    private string Generate(int rows)
    {
        var path = Path.Combine(_folder, "flights.parquet");
        using var database = DuckDbDatabase.OpenInMemory();
        using var connection = database.Connect();
        connection.Execute(string.Create(CultureInfo.InvariantCulture,
            $"COPY (SELECT i, TIMESTAMP '2001-05-01' + INTERVAL 1 MINUTE * i AS at, (i % 3000)::INTEGER AS \"flight:distance\", (i % 24)::DECIMAL(4,1) AS \"calendar:hour\", [i::INTEGER] AS list FROM range({rows}) t(i)) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet)"));
        return path;
    }

    private static IReadOnlyList<object?[]> Rows(string file, string what)
    {
        using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1 });
        using var connection = database.Connect();
        return connection.QueryRows($"SELECT {what} FROM {DuckDbLiteral.Quote(file)}");
    }

    private async Task<float> SingleAsync(float distance, float hour)
    {
        var (status, body) = await _host.InferAsync(ServingHost.Matrix(distance, hour));
        Assert.Equal(200, status);
        return body.GetProperty("outputs")[0].GetProperty("data")[0].GetSingle();
    }
}
