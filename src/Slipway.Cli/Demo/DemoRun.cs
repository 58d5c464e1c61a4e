using System.Diagnostics;
using System.Globalization;
using Slipway.Cli.Commands;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Host;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Demo;

/// <summary>
/// The lifecycle, step by step over HTTP. Each step first looks at what the server already has, so that a second start, or one
/// after a kill, continues where the records end.
/// </summary>
internal sealed class DemoRun(DemoServer server, string data, string examples, double trafficShare)
{
    internal const string Model = "flight-delay";
    private static readonly DateTimeOffset TrafficFrom = new(2001, 5, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset TrafficTo = new(2001, 7, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly IAnsiConsole _console = AnsiConsole.Console;
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly string _statePath = Path.Combine(data, "demo.json");
    private DemoState _state = DemoState.Load(Path.Combine(data, "demo.json"));

    public async Task<int> RunAsync(CancellationToken ct)
    {
        await UsersAsync(ct);
        using var engineer = new SlipwayClient(server.Address, _state.EngineerToken);
        using var approver = new SlipwayClient(server.Address, _state.ApproverToken);

        Step("Definitions and dataset", "what examples/flights declares, and three million rows");
        var files = ApplyCommand.Read(examples);
        var applied = await engineer.PostAsync<ApplyResponse>("definitions", new ApplyRequest(files), ct);
        var datasets = await DatasetUpload.SendAsync(engineer, examples, applied, files, _console, ct);
        var dataset = datasets.Single().Version;
        Say($"{applied.Results.Count} definitions in force");
        Say(DatasetUpload.Describe(datasets.Single()));

        Step("First version", "validate, features, train, evaluate, register");
        var versions = await VersionsAsync(engineer, ct);
        if (versions.Count == 0)
        {
            await TrainAsync(engineer, Model, "the first version", null, ct);
        }

        var first = (await VersionsAsync(engineer, ct)).First(version => version.Number == 1);
        await PromoteAsync(engineer, approver, first, Stage.Staging, ct);
        await PromoteAsync(engineer, approver, first, Stage.Production, ct);
        await WaitForServingAsync(engineer, first.Version, ct);

        if (_state.ReplayedTo is null || _state.ReplayedTo < TrafficTo)
        {
            await LiveAsync(engineer, approver, dataset, ct);
        }
        else
        {
            Say("May and June have been replayed by an earlier start.");
        }

        Step("Papers and proof", "model card, strategy, maturity report, verification");
        var summary = new DemoSummary(engineer, _console);
        await summary.WriteDocumentsAsync(examples, ct);
        return await summary.PrintAsync(dataset, server, _watch.Elapsed, ct);
    }

    private async Task LiveAsync(SlipwayClient engineer, SlipwayClient approver, DatasetVersion dataset, CancellationToken ct)
    {
        Step("Life in production", "May and June as live traffic, labels a day later, hourly monitors");
        var flights = await FlightsAsync(engineer, dataset, ct);
        using var replay = new Replay(
            server.Address, _state.EngineerToken!, Model, flights, _state.ReplayedTo ?? TrafficFrom,
            async (clock, token) => await engineer.PostAsync<object>("features/materialize", new { up_to = clock }, token));

        await ReplayAsync(replay, "until drift calls for a retraining", async () =>
        {
            if (_state.RetrainingRun is null)
            {
                var runs = await engineer.GetAsync<IReadOnlyList<PipelineRun>>($"pipelines/{Model}/runs", ct);
                if (runs.FirstOrDefault(run => run.Trigger is "drift" or "performance") is { } retraining)
                {
                    Update(_state with { RetrainingRun = retraining.Id });
                }
            }

            return _state.RetrainingRun is not null;
        }, ct);
        if (_state.RetrainingRun is null)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, "May and June passed without a drift or performance alert; check the monitor's definition.");
        }

        Step("Retrain and roll out", "shadow, then 5, 25, 50 and 100 percent");
        var retrained = await PipelineCommand.FollowAsync(engineer, _state.RetrainingRun, _console, ct);
        var second = await VersionOfAsync(engineer, retrained, ct);
        Say($"Retrained because: {retrained.Reason}");
        await RollOutAsync(engineer, approver, replay, second, Model, _state.HealthyRollout, RolloutStatus.Completed, id => Update(_state with { HealthyRollout = id }), ct);

        Step("Drill: kilometres", "trained on kilometres while requests send miles");
        await DrillAsync(engineer, approver, replay, $"{Model}-kilometres", _state.KilometresRollout, id => Update(_state with { KilometresRollout = id }), ct);

        Step("Drill: slow", "right answers, several milliseconds late");
        await DrillAsync(engineer, approver, replay, $"{Model}-slow", _state.SlowRollout, id => Update(_state with { SlowRollout = id }), ct);

        Step("The rest of June", "with the retrained version");
        await ReplayAsync(replay, "to the end of June", () => Task.FromResult(false), ct);
        await replay.LabelAsync(TrafficTo, ct);
        if (replay.Failures > 0)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{replay.Failures} of {replay.Requests + replay.Failures} requests failed; the first: {replay.FirstFailure}");
        }
    }

    private async Task DrillAsync(
        SlipwayClient engineer, SlipwayClient approver, Replay replay, string pipeline, string? known, Action<string> remember, CancellationToken ct)
    {
        var runs = await engineer.GetAsync<IReadOnlyList<PipelineRun>>($"pipelines/{pipeline}/runs", ct);
        // The rows of the retrained version, so that only the fault differs.
        var retraining = await engineer.GetAsync<PipelineRun>($"pipelines/runs/{_state.RetrainingRun}", ct);
        var parameters = retraining.Parameters.Where(parameter => parameter.Key is not "bump").ToDictionary(StringComparer.Ordinal);
        var run = runs.FirstOrDefault(run => run.Status is PipelineRunStatus.Succeeded) ?? await TrainAsync(engineer, pipeline, "a drill: this version is broken on purpose", parameters, ct);
        await RollOutAsync(engineer, approver, replay, await VersionOfAsync(engineer, run, ct), $"{Model}-rebuild", known, RolloutStatus.RolledBack, remember, ct);
    }

    private async Task RollOutAsync(
        SlipwayClient engineer, SlipwayClient approver, Replay replay, ModelVersionRecord version, string spec, string? known, RolloutStatus expected, Action<string> remember,
        CancellationToken ct)
    {
        RolloutResponse rollout;
        if (known is null)
        {
            await PromoteAsync(engineer, approver, version, Stage.Staging, ct);
            await ApproveAsync(engineer, approver, version, Stage.Production, ct);
            rollout = await engineer.PostAsync<RolloutResponse>("rollouts", new StartRolloutRequest(Model, version.Version, $"{version.Version} passed its gate and is approved for production", spec), ct);
            remember(rollout.Id);
        }
        else
        {
            rollout = await engineer.GetAsync<RolloutResponse>($"rollouts/{known}", ct);
        }

        var step = 0;
        await ReplayAsync(replay, $"rollout of {version.Version}", async () =>
        {
            rollout = await SettleAsync(engineer, rollout.Id, ct);
            if (rollout.Step != step && rollout.Status is RolloutStatus.Running)
            {
                step = rollout.Step;
                var now = rollout.Steps[step - 1];
                Say($"{replay.Clock:yyyy-MM-dd HH:mm}  {version.Version}: {(now.Shadow ? "shadow" : string.Create(CultureInfo.InvariantCulture, $"{now.Percent} % of the keys"))}");
            }

            return rollout.Status is not RolloutStatus.Running;
        }, ct);
        Say($"{replay.Clock:yyyy-MM-dd HH:mm}  {version.Version}: {rollout.Status}. {rollout.EndReason}{(rollout.RestoreMs is { } ms ? $" Traffic was restored in {ms:0.0} ms." : "")}");
        if (rollout.Status != expected)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The rollout of {version.Version} is {rollout.Status} where the demo expects {expected}; see 'slipway rollout status {rollout.Id}'.");
        }
    }

    /// <summary>
    /// The replay sends a day in a fraction of a second. A slow shadow could not keep up and would drop nearly all copies, so the
    /// simulated clock waits until it has worked off those it has.
    /// </summary>
    private static async Task<RolloutResponse> SettleAsync(SlipwayClient client, string id, CancellationToken ct)
    {
        for (long seen = -1; ;)
        {
            var rollout = await client.GetAsync<RolloutResponse>($"rollouts/{id}", ct);
            var step = rollout.Steps[rollout.Step - 1];
            if (rollout.Status is not RolloutStatus.Running || !step.Shadow || step.Requests == seen)
            {
                return rollout;
            }

            seen = step.Requests;
            await Task.Delay(500, ct);
        }
    }

    private async Task ReplayAsync(Replay replay, string what, Func<Task<bool>> done, CancellationToken ct)
    {
        if (await done())
        {
            return;
        }

        await _console.Progress().AutoClear(true).Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn()).StartAsync(async progress =>
        {
            var task = progress.AddTask("Replay", maxValue: (TrafficTo - TrafficFrom).TotalHours);
            while (!replay.Finished)
            {
                await replay.AdvanceAsync(ct);
                task.Value = (replay.Clock - TrafficFrom).TotalHours;
                task.Description = Markup.Escape($"{replay.Clock:yyyy-MM-dd} {what}");
                if (replay.Clock.Hour % 6 == 0)
                {
                    Update(_state with { ReplayedTo = replay.Clock });
                    if (await done())
                    {
                        return;
                    }
                }
            }

            Update(_state with { ReplayedTo = TrafficTo });
        });
    }

    private async Task<PipelineRun> TrainAsync(SlipwayClient engineer, string pipeline, string reason, IReadOnlyDictionary<string, string>? parameters, CancellationToken ct)
    {
        var open = (await engineer.GetAsync<IReadOnlyList<PipelineRun>>($"pipelines/{pipeline}/runs", ct))
            .FirstOrDefault(run => run.Status is PipelineRunStatus.Queued or PipelineRunStatus.Running);
        var started = open ?? await engineer.PostAsync<PipelineRun>($"pipelines/{pipeline}/runs", new StartPipelineRun("manual", reason, parameters), ct);
        var run = await PipelineCommand.FollowAsync(engineer, started.Id, _console, ct);
        PipelineCommand.Draw(_console, run);
        return run.Status is PipelineRunStatus.Succeeded
            ? run
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"The pipeline run {run.Id} ended as {run.Status}: {run.Error ?? run.VerdictReason}");
    }

    private static async Task<IReadOnlyList<ModelVersionRecord>> VersionsAsync(SlipwayClient client, CancellationToken ct)
    {
        try
        {
            return (await client.GetAsync<ModelVersionList>($"models/{Model}/versions", ct)).Versions;
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
        {
            return [];
        }
    }

    private static async Task<ModelVersionRecord> VersionOfAsync(SlipwayClient client, PipelineRun run, CancellationToken ct) =>
        run.ModelVersion is { } version
            ? await client.GetAsync<ModelVersionRecord>($"models/{Model}/versions/{version}", ct)
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"The pipeline run {run.Id} registered no version: {run.Error ?? run.VerdictReason}");

    private async Task PromoteAsync(SlipwayClient engineer, SlipwayClient approver, ModelVersionRecord version, Stage to, CancellationToken ct)
    {
        var now = await engineer.GetAsync<ModelVersionRecord>($"models/{Model}/versions/{version.Version}", ct);
        if (now.Stage >= to)
        {
            return;
        }

        var promotion = await ApproveAsync(engineer, approver, version, to, ct);
        await engineer.PostAsync<ModelVersionRecord>($"promotions/{promotion.Id}/execute", null, ct);
        Say($"{version.Version} → {to}: asked for by demo-engineer, approved by demo-approver");
    }

    private static async Task<PromotionRecord> ApproveAsync(SlipwayClient engineer, SlipwayClient approver, ModelVersionRecord version, Stage to, CancellationToken ct)
    {
        var promotions = await engineer.GetAsync<PromotionList>($"promotions?model={Model}", ct);
        var promotion = promotions.Promotions.FirstOrDefault(promotion => promotion.Version == version.Version && promotion.To == to && promotion.Status is PromotionStatus.Pending or PromotionStatus.Approved)
            ?? await engineer.PostAsync<PromotionRecord>("promotions", new RequestPromotion(Model, version.Version, to, "The evaluation met the threshold set before training."), ct);
        return promotion.Status is PromotionStatus.Approved
            ? promotion
            : await approver.PostAsync<PromotionRecord>($"promotions/{promotion.Id}/approve", new DecidePromotion("Report read; the test split was touched once."), ct);
    }

    private static async Task WaitForServingAsync(SlipwayClient client, string version, CancellationToken ct)
    {
        var limit = Stopwatch.StartNew();
        while (!await client.IsModelReadyAsync(Model, ct))
        {
            if (limit.Elapsed > TimeSpan.FromSeconds(30))
            {
                throw new SlipwayException(ErrorCode.Unavailable, $"{Model} {version} did not become ready within 30 s; see the server's log.");
            }

            await Task.Delay(50, ct);
        }
    }

    private async Task<IReadOnlyList<Flight>> FlightsAsync(SlipwayClient client, DatasetVersion dataset, CancellationToken ct)
    {
        var path = string.Create(CultureInfo.InvariantCulture,
            $"datasets/{dataset.Name}/versions/{dataset.Version}/rows?from={TrafficFrom:yyyy-MM-dd}&to={TrafficTo:yyyy-MM-dd}&share={trafficShare}");
        var flights = new List<Flight>();
        await foreach (var line in client.LinesAsync(path, ct))
        {
            flights.Add(Replay.Parse(line));
        }

        return flights;
    }

    private async Task UsersAsync(CancellationToken ct)
    {
        if (_state.EngineerToken is not null)
        {
            return;
        }

        var token = (await File.ReadAllTextAsync(Path.Combine(data, "admin.token"), ct)).Trim();
        using var admin = new SlipwayClient(server.Address, token);
        // A kill between the two and the save leaves users whose tokens nobody knows; a suffix keeps the next start from stumbling over them.
        var known = (await admin.GetAsync<UserList>("users", ct)).Users.Select(user => user.Name).ToHashSet(StringComparer.Ordinal);
        async Task<string> AddAsync(string name, string role)
        {
            var free = Enumerable.Range(1, int.MaxValue).Select(i => i == 1 ? name : $"{name}-{i}").First(candidate => !known.Contains(candidate));
            return (await admin.PostAsync<CreatedUser>("users", new CreateUserRequest(free, role), ct)).Token!;
        }

        Update(_state with { EngineerToken = await AddAsync("demo-engineer", "ml_engineer"), ApproverToken = await AddAsync("demo-approver", "approver") });
    }

    private void Update(DemoState state)
    {
        _state = state;
        state.Save(_statePath);
    }

    private void Step(string title, string what) =>
        _console.MarkupLineInterpolated($"[bold blue]{title}[/] [grey]{what} ({_watch.Elapsed.TotalSeconds:0} s)[/]");

    private void Say(string text) => _console.MarkupLineInterpolated($"  {text}");
}
