using System.Globalization;
using System.Text.Json;
using Slipway.EndToEnd.BadInput;
using Slipway.EndToEnd.Pages;
using Slipway.Native.DuckDb;

namespace Slipway.EndToEnd.Scoring;

public sealed class ScoreAndLoadTests(BadInputFixture fixture) : IClassFixture<BadInputFixture>, IDisposable
{
    private readonly string _folder = SlipwayProgram.NewDataFolder();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string[] Server => ["--server", fixture.Server.Address.ToString(), "--json"];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    [Trait("capability", "SRV-02")]
    public async Task A_job_killed_in_the_middle_is_finished_by_the_same_command_with_no_row_lost_or_twice()
    {
        const int Rows = 1_000_000;
        var (input, output) = (Path.Combine(_folder, "flights.parquet"), Path.Combine(_folder, "scored.parquet"));
        using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1 });
        using var connection = database.Connect();
        connection.Execute(string.Create(CultureInfo.InvariantCulture,
            $"COPY (SELECT i, (i % 3000)::INTEGER AS \"flight:distance\", (i % 24)::DOUBLE AS \"calendar:hour\" FROM range({Rows}) t(i)) TO {DuckDbLiteral.Quote(input)} (FORMAT parquet)"));
        string[] command = [.. Server, "score", Seed.Model, input, output];

        // Once a part is there, and before all are; anew when all was scored before the kill came.
        var parts = output + ".parts";
        for (var tries = 1; ; tries++)
        {
            using var first = SlipwayProgram.Start(command);
            while (!File.Exists(Path.Combine(parts, "part-00000001.parquet")) && !first.HasExited)
            {
                await Task.Delay(1, Cancel);
            }

            first.Kill();
            await first.WaitForExitAsync(Cancel);
            if (!File.Exists(output) && Directory.GetFiles(parts, "part-*.parquet").Length <= Rows / 131_072)
            {
                break;
            }

            Assert.True(tries < 3, "Each job ended before it could be killed.");
            File.Delete(output);
            if (Directory.Exists(parts))
            {
                Directory.Delete(parts, recursive: true);
            }
        }

        var (exit, said, error) = await SlipwayProgram.RunAsync(Cancel, command);

        Assert.True(exit == 0, error);
        using var result = JsonDocument.Parse(said);
        Assert.InRange(result.RootElement.GetProperty("resumed_rows").GetInt64(), 131_072, Rows - 1);
        Assert.Equal(Rows, result.RootElement.GetProperty("rows").GetInt64());
        // Row for row: the position in the file, and the model's own formula.
        Assert.Equal(Rows, connection.QueryScalar<long>(
            $"SELECT count(*) FROM read_parquet({DuckDbLiteral.Quote(output)}, file_row_number=true) WHERE file_row_number = i AND model_version = '1.0.0' AND prediction BETWEEN 0 AND 1"));
        Assert.Equal(1, connection.QueryScalar<long>(
            $"SELECT max(n) FROM (SELECT count(DISTINCT prediction) AS n FROM {DuckDbLiteral.Quote(output)} GROUP BY \"flight:distance\", \"calendar:hour\")"));
        Assert.Equal([input, output], Directory.GetFileSystemEntries(_folder).Order());
    }

    [Fact]
    [Trait("capability", "SRV-02")]
    public async Task A_file_that_does_not_fit_is_refused_in_one_sentence()
    {
        var input = Path.Combine(_folder, "flights.csv");
        await File.WriteAllTextAsync(input, "flight:distance\n100\n", Cancel);

        var (exit, _, error) = await SlipwayProgram.RunAsync(Cancel, [.. Server, "score", Seed.Model, input, Path.Combine(_folder, "scored.csv")]);

        Assert.Equal(2, exit);
        Assert.Contains("The file has no column 'calendar:hour'", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "X-21")]
    public async Task A_load_test_is_told_by_the_version_and_its_page()
    {
        var (exit, said, error) = await SlipwayProgram.RunAsync(Cancel, [.. Server, "loadtest", Seed.Model, "--rates", "5,10", "--seconds", "1", "--p95-ms", "9500"]);
        Assert.True(exit == 0, error);
        using var test = JsonDocument.Parse(said);
        Assert.Equal(10, test.RootElement.GetProperty("safe_rate").GetDouble());
        Assert.Equal([5, 10], test.RootElement.GetProperty("steps").EnumerateArray().Select(step => step.GetProperty("requests").GetInt32()));

        var shown = await SlipwayProgram.RunAsync(Cancel, "--server", fixture.Server.Address.ToString(), "registry", "info", Seed.Model, "1.0.0");
        var page = await fixture.Client.GetStringAsync(new Uri($"/models/{Seed.Model}/versions/1.0.0", UriKind.Relative), Cancel);

        Assert.Contains("Load test: 10 req/s held within p95 9500 ms", shown.Output, StringComparison.Ordinal);
        Assert.Contains("Load test", page, StringComparison.Ordinal);
        Assert.Contains("10 req/s", page, StringComparison.Ordinal);
    }
}
