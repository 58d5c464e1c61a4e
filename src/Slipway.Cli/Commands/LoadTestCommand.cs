using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Cli.LoadTesting;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway loadtest delay</c></summary>
internal static class LoadTestCommand
{
    private const string DefaultRates = "10,25,50,100,200,400,800";
    private const double RateMax = 100_000;
    private const int WarmUps = 20;
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);

    public static Command Create(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Option<string?>("--version") { Description = "Version, number, stage or alias such as @champion; production when left out." };
        var rates = new Option<string>("--rates") { Description = "Requests a second, rising; the test ends with the first rate that does not hold.", DefaultValueFactory = _ => DefaultRates };
        var seconds = new Option<double>("--seconds") { Description = "How long each rate is kept up.", DefaultValueFactory = _ => 5 };
        var request = new Option<string?>("--request") { Description = "A file with the JSON body to send; the contract's example request when left out." };
        var p95 = new Option<double>("--p95-ms") { Description = "The limit of the 95th percentile, milliseconds from when a request should have been sent.", DefaultValueFactory = _ => 100 };
        var errors = new Option<double>("--max-errors") { Description = "The limit of the share of failed requests, 0 to 1.", DefaultValueFactory = _ => 0.01 };
        var command = new Command("loadtest", "Find the rate a version bears: requests on schedule at rising rates. The result is kept with the version.") { model, version, rates, seconds, request, p95, errors };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var steps = Rates(args.GetRequiredValue(rates));
            var limits = (
                P95: Positive("--p95-ms", args.GetRequiredValue(p95), 600_000), Errors: args.GetRequiredValue(errors) is >= 0 and <= 1 and var share ? share : throw Invalid("--max-errors must be a share from 0 to 1, such as 0.01."),
                Seconds: Positive("--seconds", args.GetRequiredValue(seconds), 3600));
            var name = Uri.EscapeDataString(args.GetRequiredValue(model));
            var record = await client.GetAsync<ModelVersionRecord>($"models/{name}/versions/{Uri.EscapeDataString(args.GetValue(version) ?? "production")}", ct);
            var contract = await client.GetAsync<InferenceContract>($"models/{name}/versions/{Uri.EscapeDataString(record.Version)}/contract", ct);
            var file = args.GetValue(request);
            var body = file is null ? Encoding.UTF8.GetBytes(contract.ExampleRequest.ToJsonString()) : await ReadAsync(file, ct);

            LoadTest test = null!;
            await ConnectionOptions.ProgressConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn()).StartAsync(async bars =>
            {
                var task = bars.AddTask($"Load {record.Model} {record.Version}", maxValue: steps.Count);
                test = await RunAsync(client, contract.Path, body, steps, limits, file is null ? "example" : Path.GetFileName(file), done => task.Value = done, ct);
                task.Value = task.MaxValue;
            });
            var stored = await client.PostAsync<LoadTest>($"models/{name}/versions/{Uri.EscapeDataString(record.Version)}/load-tests", test, ct);
            return connection.Print(args, stored, console => Draw(console, record, stored));
        });
        return command;
    }

    /// <summary>Runs the steps until one does not hold.</summary>
    /// <exception cref="SlipwayException">The version does not answer the request at all.</exception>
    internal static async Task<LoadTest> RunAsync(
        SlipwayClient client, string path, byte[] body, IReadOnlyList<double> rates, (double P95, double Errors, double Seconds) limits, string request, Action<int> done, CancellationToken ct)
    {
        // The first requests load the version and compile the way to it, which is no part of what a rate costs.
        for (var i = 0; i < WarmUps; i++)
        {
            var reply = await client.SendInferenceAsync(path, body, null, ct);
            if (reply.Refusal is { } refusal)
            {
                throw new SlipwayException(reply.Status is 401 ? ErrorCode.Unauthenticated : reply.Status is 403 ? ErrorCode.PermissionDenied : ErrorCode.InvalidArgument,
                    $"The request is refused before any load: {refusal}{(request == "example" ? " Send one that fits with --request FILE." : "")}");
            }
        }

        var steps = new List<LoadTestStep>();
        foreach (var rate in rates)
        {
            var sent = await OpenLoop.RunAsync(
                rate, TimeSpan.FromSeconds(limits.Seconds), Timeout, async token => (await client.SendInferenceAsync(path, body, null, token)).Refusal is null, ct);
            steps.Add(LoadFigures.Step(rate, limits.Seconds, sent, limits.P95, limits.Errors));
            done(steps.Count);
            if (!steps[^1].Held)
            {
                break;
            }
        }

        return new LoadTest(limits.P95, limits.Errors, limits.Seconds, steps, LoadFigures.SafeRate(steps), request);
    }

    internal static IReadOnlyList<double> Rates(string text)
    {
        var rates = text.Split(',', StringSplitOptions.TrimEntries)
            .Select(part => double.TryParse(part, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var rate) && rate is > 0 and <= RateMax ? rate : double.NaN).ToList();
        return rates.Count <= 100 && rates.TrueForAll(double.IsFinite) && rates.Zip(rates.Skip(1)).All(pair => pair.First < pair.Second)
            ? rates
            : throw Invalid($"--rates '{text}' must be at most 100 rising numbers of requests a second up to {RateMax.ToString("N0", CultureInfo.InvariantCulture)}, such as {DefaultRates}.");
    }

    private static double Positive(string option, double value, double max) => value > 0 && value <= max
        ? value : throw Invalid($"{option} must be above 0 and at most {max.ToString("N0", CultureInfo.InvariantCulture)}, not {value.ToString(CultureInfo.InvariantCulture)}.");

    private static async Task<byte[]> ReadAsync(string path, CancellationToken ct)
    {
        var body = File.Exists(path) ? await File.ReadAllBytesAsync(path, ct) : throw Invalid($"--request '{path}' does not exist; name a file with the JSON body of a request.");
        try
        {
            using var json = JsonDocument.Parse(body);
            return body;
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"--request '{path}' holds no JSON (line {(e.LineNumber ?? 0) + 1}); the example request of the version's contract shows one.", e);
        }
    }

    private static void Draw(IAnsiConsole console, ModelVersionRecord record, LoadTest test)
    {
        static TableColumn Right(string name) => new TableColumn(name).RightAligned();
        var slowest = Math.Max(test.Steps.Max(step => step.P95Ms), 1e-9);
        var table = new Table().Border(TableBorder.Rounded)
            .AddColumns(Right("req/s"), Right("achieved"), Right("p50 ms"), Right("p95 ms"), Right("p99 ms"), Right("p99.9 ms"), Right("errors"), new TableColumn("p95"), new TableColumn("Held"));
        foreach (var step in test.Steps)
        {
            table.AddRow(
                Text(step.Rate, "0.#"), Text(step.AchievedRate, "0.0"), Text(step.P50Ms, "0.0"), Text(step.P95Ms, "0.0"), Text(step.P99Ms, "0.0"), Text(step.P999Ms, "0.0"),
                Text(step.ErrorShare * 100, "0.0") + " %", new string('█', Math.Max(1, (int)Math.Round(step.P95Ms / slowest * 20))), step.Held ? "[green]✓[/]" : "[red]✗[/]");
        }

        console.Write(table);
        console.WriteLine(test.SafeRate is { } safe
            ? string.Create(CultureInfo.InvariantCulture, $"Safe rate of {record.Model} {record.Version}: {safe:0.#} requests a second, within p95 {test.P95MsMax:0.#} ms and {test.ErrorShareMax:P1} errors.")
            : string.Create(CultureInfo.InvariantCulture, $"No rate of {record.Model} {record.Version} held within p95 {test.P95MsMax:0.#} ms and {test.ErrorShareMax:P1} errors."));
        if (test.Steps[^1] is { Held: true })
        {
            console.WriteLine("The highest rate held: it may bear more, see --rates.");
        }

        if (test.Steps[^1] is { SendDelayP99Ms: var delay } && delay > test.P95MsMax / 2)
        {
            console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"At the last rate requests left this machine up to {delay:0} ms late: it, and not only the server, was the limit. Run the test from another machine."));
        }

        static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
    }

    private static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);
}
