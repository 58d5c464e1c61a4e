using Dapper;
using Slipway.Contracts.Serving;
using Slipway.Registry;
using Slipway.Storage;

namespace Slipway.Serving.Deployments;

/// <summary>Owns the <c>deployments</c> table: which version held which role, from when to when, and why it ended.</summary>
public sealed class DeploymentStore(Database database)
{
    private const string Columns =
        "id AS Id, model AS Model, version AS Version, arm AS Arm, started_at_ms AS StartedAtMs, start_reason AS StartReason, " +
        "ended_at_ms AS EndedAtMs, outcome AS Outcome, end_reason AS EndReason";

    private static readonly Caller Serving = Caller.System("serving");

    /// <summary>A model's deployments, newest first.</summary>
    public IReadOnlyList<DeploymentRecord> List(string model, int limit = 200) =>
        database.Read(connection => connection.Query<Row>(
            $"SELECT {Columns} FROM deployments WHERE model = @model ORDER BY started_at_ms DESC, id DESC LIMIT @limit", new { model, limit })
            .Select(Record).ToList());

    /// <summary>The deployments that run now, of all models.</summary>
    public IReadOnlyList<DeploymentRecord> ListOpen() =>
        database.Read(connection => connection.Query<Row>($"SELECT {Columns} FROM deployments WHERE ended_at_ms IS NULL ORDER BY model, arm").Select(Record).ToList());

    /// <summary>Makes the open rows of a model equal to its roles now; ends and begins are audited and linked to their versions.</summary>
    internal Task RecordAsync(RouteChange change, IReadOnlyDictionary<ArmRole, string> roles, bool onlyStable, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var open = transaction.Connection.Query<Row>(
                $"SELECT {Columns} FROM deployments WHERE model = @Model AND ended_at_ms IS NULL", new { change.Model }).ToDictionary(row => row.Arm);
            foreach (var (role, arm) in new[] { (ArmRole.Stable, "stable"), (ArmRole.Candidate, "candidate"), (ArmRole.Shadow, "shadow") })
            {
                var version = roles.GetValueOrDefault(role);
                if ((onlyStable && role != ArmRole.Stable) || open.GetValueOrDefault(arm)?.Version == version)
                {
                    continue;
                }

                if (open.GetValueOrDefault(arm) is { } ended)
                {
                    var promoted = role != ArmRole.Stable && roles.GetValueOrDefault(ArmRole.Stable) == ended.Version;
                    End(transaction, ended, promoted ? "promoted" : change.Outcome, promoted ? "the version went to production" : change.Reason);
                }

                if (version is not null)
                {
                    Begin(transaction, change, version, arm);
                }
            }
        }, cancellationToken);

    private static void Begin(WriteTransaction transaction, RouteChange change, string version, string arm)
    {
        var id = Guid.CreateVersion7(transaction.Now).ToString("N");
        transaction.Connection.Execute(
            "INSERT INTO deployments (id, model, version, arm, started_at_ms, start_reason) VALUES (@id, @Model, @version, @arm, @now, @Reason)",
            new { id, change.Model, version, arm, now = transaction.NowMs, change.Reason });
        var node = new NodeRef(NodeKinds.Deployment, id);
        transaction.Audit(Serving, "deployment.started", node, change.Reason, null, new { change.Model, version, arm });
        transaction.Link(ModelVersionNode.Of(change.Model, version), "deployed_as", node);
    }

    private static void End(WriteTransaction transaction, Row row, string outcome, string reason)
    {
        transaction.Connection.Execute(
            "UPDATE deployments SET ended_at_ms = @now, outcome = @outcome, end_reason = @reason WHERE id = @Id",
            new { now = transaction.NowMs, outcome, reason, row.Id });
        transaction.Audit(Serving, "deployment.ended", new NodeRef(NodeKinds.Deployment, row.Id), reason,
            new { row.Model, row.Version, row.Arm }, new { outcome });
    }

    private static DeploymentRecord Record(Row row) => new(
        row.Id, row.Model, row.Version, row.Arm, DateTimeOffset.FromUnixTimeMilliseconds(row.StartedAtMs),
        row.EndedAtMs is { } ended ? DateTimeOffset.FromUnixTimeMilliseconds(ended) : null, row.Outcome, row.EndReason ?? row.StartReason);

    private sealed record Row(
        string Id, string Model, string Version, string Arm, long StartedAtMs, string StartReason, long? EndedAtMs, string? Outcome, string? EndReason);
}
