using System.Text.Json;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage;

namespace Slipway.Registry.External;

public sealed partial class ExternalRegistry
{
    // Longer than the calls of one decision may take together.
    private static readonly TimeSpan PushLease = TimeSpan.FromMinutes(5);

    /// <summary>Sends every decision that the server has not confirmed, in their order, and takes over what stood in the way of one.</summary>
    /// <exception cref="SlipwayException">Unavailable: the server; what is left is sent later.</exception>
    internal async Task PushAsync(CancellationToken cancellationToken)
    {
        await OpenAsync(cancellationToken);
        if (_outbox.Read(Reader, Topics, limit: 1).Count == 0)
        {
            return;
        }

        await _pushing.WaitAsync(cancellationToken);
        try
        {
            // Two servers that send at once could write an older decision over a newer one.
            if (await _leases.TryAcquireAsync(Reader, PushLease, cancellationToken) is not { } lease)
            {
                return;
            }

            try
            {
                await SendAllAsync(lease, cancellationToken);
            }
            finally
            {
                await _leases.ReleaseAsync(lease, CancellationToken.None);
            }
        }
        finally
        {
            _pushing.Release();
        }
    }

    private async Task SendAllAsync(Lease lease, CancellationToken cancellationToken)
    {
        var inTheWay = new HashSet<string>(StringComparer.Ordinal);
        while (_outbox.Read(Reader, Topics) is { Count: > 0 } events)
        {
            for (var i = 0; i < events.Count; i++)
            {
                var decision = Decision.Of(events[i]);
                if (decision is null || !Mirrors(decision.Model))
                {
                    await AcknowledgeAsync(lease, events[i].Seq, cancellationToken);
                    continue;
                }

                // The version that enters production goes before the one that leaves it: at no moment is there none.
                var entering = decision.IsReplaced && i + 1 < events.Count && Decision.Of(events[i + 1]) is { } next && next.Model == decision.Model && next.To is Stage.Production ? next : null;
                var sent = entering is null || await SendAsync(entering, lease, null, cancellationToken);
                var last = events[entering is null ? i : ++i].Seq;
                if (!sent)
                {
                    await AcknowledgeAsync(lease, last, cancellationToken); // The one that should have taken over did not, so that the other stays.
                }
                else
                {
                    sent = await SendAsync(decision, lease, last, cancellationToken);
                }

                if (!sent)
                {
                    inTheWay.Add(decision.Model);
                }
            }
        }

        foreach (var model in inTheWay)
        {
            await PullModelAsync(model, cancellationToken);
        }
    }

    private Task AcknowledgeAsync(Lease lease, long seq, CancellationToken cancellationToken) => _database.WriteAsync(transaction =>
    {
        Leases.Demand(transaction, lease);
        Outbox.Acknowledge(transaction, Reader, seq);
    }, cancellationToken);

    /// <summary>Sends one decision, unless the server has it already. False when the server stands elsewhere than the decision was made for, or refuses it.</summary>
    private async Task<bool> SendAsync(Decision decision, Lease lease, long? acknowledge, CancellationToken cancellationToken)
    {
        var row = _database.Read(connection => MirrorTable.Find(connection, decision.Model, decision.Version));
        var before = decision.Before is null ? null : _database.Read(connection => MirrorTable.Find(connection, decision.Model, decision.Before));
        string? obstacle;
        try
        {
            obstacle = row is null ? "the version is not on the MLflow server"
                : decision.Alias is { } alias ? await SendAliasAsync(decision.Model, alias, row, before, cancellationToken)
                : await SendStageAsync(decision, row, cancellationToken);
        }
        catch (SlipwayException e) when (e.Code is not ErrorCode.Unavailable)
        {
            obstacle = e.Message;
        }

        await _database.WriteAsync(transaction =>
        {
            Leases.Demand(transaction, lease);
            if (acknowledge is { } seq)
            {
                Outbox.Acknowledge(transaction, Reader, seq);
            }

            if (obstacle is not null)
            {
                transaction.Audit(By, "model_version.external_change", ModelVersionNode.Of(decision.Model, decision.Version), obstacle,
                    new { decided = decision }, new { written = false });
            }
            else if (decision.Alias is null)
            {
                MirrorTable.SetSeen(transaction, row!, StageRules.Name(decision.To), row!.UpdatedAtMs);
            }
        }, cancellationToken);
        if (obstacle is null)
        {
            Interlocked.Increment(ref _writesSent);
        }
        else
        {
            _logger.LogWarning("A decision on {Model} {Version} was not written to the MLflow server: {Reason}", decision.Model, decision.Version, obstacle);
        }

        return obstacle is null;
    }

    private async Task<string?> SendStageAsync(Decision decision, MirrorRow row, CancellationToken cancellationToken)
    {
        var (model, number) = (decision.Model, (int)row.Number);
        if (await _server.FindVersionAsync(model, number, cancellationToken) is not { } now || !row.Is(now))
        {
            return "the version was deleted on the MLflow server";
        }

        if (now.Stage == decision.To && (now.HasStage || now.Tag(ExternalVersion.StageTag) is not null))
        {
            return null; // Sent before a crash, or done by hand: the same either way.
        }

        if (now.Stage != decision.From)
        {
            return $"the version was moved to {ExternalVersion.StageName(now.Stage)} on the MLflow server by hand, while it went from {ExternalVersion.StageName(decision.From)} to {ExternalVersion.StageName(decision.To)} here";
        }

        if (now.HasStage)
        {
            await _server.TransitionAsync(model, number, ExternalVersion.StageName(decision.To), cancellationToken);
        }
        else
        {
            await MarkStageAsync(decision, number, cancellationToken);
        }

        return null;
    }

    // A registry without stages: a tag says the stage, and an alias of its name leads to the version.
    private async Task MarkStageAsync(Decision decision, int number, CancellationToken cancellationToken)
    {
        var model = decision.Model;
        if (decision.To is Stage.Production or Stage.Staging)
        {
            await _server.SetAliasAsync(model, StageRules.Name(decision.To), number, cancellationToken);
        }

        var aliases = (await _server.FindModelAsync(model, cancellationToken))?.Aliases ?? [];
        var left = StageRules.Name(decision.From);
        if (decision.From is Stage.Production or Stage.Staging && aliases.Any(alias => alias.Alias == left && alias.Version == number.ToString(System.Globalization.CultureInfo.InvariantCulture)))
        {
            await _server.DeleteAliasAsync(model, left, cancellationToken);
        }

        // Last: the tag is what a repeated look goes by.
        await _server.SetVersionTagAsync(model, number, ExternalVersion.StageTag, StageRules.Name(decision.To), cancellationToken);
    }

    private async Task<string?> SendAliasAsync(string model, string alias, MirrorRow row, MirrorRow? before, CancellationToken cancellationToken)
    {
        if (await _server.FindModelAsync(model, cancellationToken) is not { } now)
        {
            return "the model was deleted on the MLflow server";
        }

        var (wanted, expected) = (Text(row.Number), before is null ? null : Text(before.Number));
        var current = now.Aliases?.FirstOrDefault(item => item.Alias == alias)?.Version;
        if (current == wanted)
        {
            return null;
        }

        if (current != expected)
        {
            return $"alias {alias} was {(current is null ? "removed" : $"set to version {current}")} on the MLflow server by hand meanwhile";
        }

        await _server.SetAliasAsync(model, alias, (int)row.Number, cancellationToken);
        return null;

        static string Text(long number) => number.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>A change decided here, as the outbox tells it.</summary>
    /// <param name="Alias">Null for a change of stage.</param>
    /// <param name="Before">The version the alias pointed at; null when it is new.</param>
    private sealed record Decision(string Model, string Version, Stage From, Stage To, bool IsReplaced, string? Alias, string? Before)
    {
        /// <summary>Null for a change that came from the external server.</summary>
        public static Decision? Of(OutboxEvent published)
        {
            if (published.Topic == ModelRegistry.AliasChangedTopic)
            {
                var alias = JsonSerializer.Deserialize<AliasChange>(published.Payload, JsonDefaults.Options)!;
                return new Decision(alias.Model, alias.Version, default, default, false, alias.Alias, alias.Before);
            }

            var change = JsonSerializer.Deserialize<StageChange>(published.Payload, JsonDefaults.Options)!;
            return change.Cause == StageTable.ExternalChange || change.From is not { } from
                ? null
                : new Decision(change.Model, change.Version, from, change.To, change.Cause is "replaced" or "rolled_back", null, null);
        }
    }
}
