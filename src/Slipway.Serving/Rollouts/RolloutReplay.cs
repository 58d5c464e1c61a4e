using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Rollouts;

/// <summary>Asks the rules about stored evidence again: under the definition that was followed it must come out the same, under another it says what would have happened.</summary>
internal sealed class RolloutReplay(RolloutStore store, RolloutController controller)
{
    /// <summary>Every entry of the decision log.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: the other definition has faults or is for another model.</exception>
    public RolloutReplayResponse Run(string id, string? definition)
    {
        var row = store.Get(id);
        var spec = definition is null ? controller.SpecOf(row) : RolloutSpec.Parse(DefinitionYaml.Parse(definition));
        if (spec.Model != row.Model)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'definition' is for model '{spec.Model}'; rollout {id} is of '{row.Model}', so give it a definition with 'model: {row.Model}'.");
        }

        var looks = store.Looks(id).Select(look => Ask(look, spec)).ToList();
        return new RolloutReplayResponse(id, definition is null ? $"{row.SpecName}@{row.SpecVersion}" : spec.Name, looks.Count(look => look.Equal is false), looks);
    }

    private static ReplayedLook Ask(StoredLook look, RolloutSpec spec)
    {
        if (look.State is null)
        {
            return NotAsked(null, $"not a decision of the rules, or stored before replays were: {look.Reason}");
        }

        DecisionMoment moment;
        RolloutEvidence evidence;
        List<RolloutGateReading> stored;
        try
        {
            moment = JsonSerializer.Deserialize<DecisionMoment>(look.State, JsonDefaults.Options)!;
            evidence = JsonSerializer.Deserialize<RolloutEvidence>(look.Evidence, JsonDefaults.Options)!;
            stored = JsonSerializer.Deserialize<List<RolloutGateReading>>(look.Gates, JsonDefaults.Options)!;
        }
        catch (JsonException)
        {
            return NotAsked(false, "the stored evidence cannot be read; the database was changed by hand or is damaged");
        }

        if (moment.State.Step >= spec.Steps.Count)
        {
            return NotAsked(null, $"the definition has no step {moment.State.Step + 1}");
        }

        var replayed = RolloutRules.Decide(spec, moment.State, evidence, moment.Now);
        var difference = Difference(look, stored, replayed);
        return new ReplayedLook(look.Seq, look.At, look.Step, look.Action, replayed.Action, difference is null, difference ?? replayed.Reason);

        ReplayedLook NotAsked(bool? equal, string why) => new(look.Seq, look.At, look.Step, look.Action, null, equal, why);
    }

    private static string? Difference(StoredLook look, List<RolloutGateReading> stored, RolloutDecision replayed)
    {
        if (look.Action != replayed.Action)
        {
            return $"stored {Name(look.Action)} ({look.Reason}), replayed {Name(replayed.Action)} ({replayed.Reason})";
        }

        if (look.Reason != replayed.Reason)
        {
            return $"the stored reason is '{look.Reason}', the replayed one '{replayed.Reason}'";
        }

        if (stored.Count != replayed.Gates.Count)
        {
            return $"{stored.Count} checks are stored, {replayed.Gates.Count} replayed";
        }

        var other = stored.Zip(replayed.Gates).FirstOrDefault(pair => !Same(pair.First, pair.Second));
        return other.First is null ? null : $"[{other.First.Gate}] stored {Describe(other.First)}, replayed {Describe(other.Second)}";
    }

    // Logarithms may differ in their last digit from one processor to another; a changed count differs in far more.
    private static bool Same(RolloutGateReading a, RolloutGateReading b) =>
        a.Gate == b.Gate && a.Check == b.Check && a.Verdict == b.Verdict && a.Text == b.Text
        && Near(a.Value, b.Value) && Near(a.Threshold, b.Threshold) && Near(a.EValue, b.EValue) && Near(a.EThreshold, b.EThreshold);

    private static bool Near(double? a, double? b) => a == b || (a is { } x && b is { } y && Math.Abs(x - y) <= 1e-9 * Math.Max(Math.Abs(x), Math.Abs(y)));

    private static string Describe(RolloutGateReading gate) =>
        string.Create(CultureInfo.InvariantCulture, $"{gate.Verdict.ToString().ToLowerInvariant()} at {gate.Value}, e-value {gate.EValue}: {gate.Text}");

    private static string Name(RolloutAction action) => JsonNamingPolicy.SnakeCaseLower.ConvertName(action.ToString()).Replace('_', ' ');
}

/// <summary>One row of the decision log, its evidence as it is stored.</summary>
internal sealed record StoredLook(long Seq, DateTimeOffset At, int Step, RolloutAction Action, string Reason, string Gates, string Evidence, string? State);
