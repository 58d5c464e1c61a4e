using System.Text.Json;
using Dapper;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Pipelines;
using Slipway.Storage;

namespace Slipway.Monitoring;

/// <summary>Starts what windows decided. An action is decided in the window's transaction and started afterwards, once.</summary>
internal sealed class ActionStarter(Database database, PipelineService pipelines, ILogger<ActionStarter> logger)
{
    private static readonly Caller By = Caller.System("monitoring");

    /// <summary>Starts the pending actions of a monitor; one that cannot be started now is tried again in the next pass.</summary>
    public async Task StartPendingAsync(string monitor, CancellationToken cancellationToken)
    {
        var pending = database.Read(connection => connection.Query<Pending>(
            """
            SELECT id AS Id, trigger_kind AS TriggerKind, pipeline AS Pipeline, reason AS Reason, parameters AS Parameters
              FROM monitor_actions WHERE monitor = @monitor AND status = 'pending' ORDER BY id
            """, new { monitor }).AsList());
        foreach (var action in pending)
        {
            await StartAsync(monitor, action, cancellationToken);
        }
    }

    private async Task StartAsync(string monitor, Pending action, CancellationToken cancellationToken)
    {
        try
        {
            // A stop between the start and its record leaves a run that names this action: it is taken over instead of starting a second.
            var existing = pipelines.List(action.Pipeline, 1000).FirstOrDefault(run => run.Reason.Contains($"action {action.Id}]", StringComparison.Ordinal));
            var run = existing?.Id ?? await pipelines.StartAsync(
                action.Pipeline, action.TriggerKind, action.Reason, JsonSerializer.Deserialize<Dictionary<string, string>>(action.Parameters), By, cancellationToken);
            await RecordAsync(monitor, action, run, null, cancellationToken);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.Unavailable or ErrorCode.ResourceExhausted)
        {
            logger.LogWarning(e, "Action {Action} of monitor {Monitor} could not be started yet", action.Id, monitor);
        }
        catch (SlipwayException e)
        {
            logger.LogError(e, "Action {Action} of monitor {Monitor} could not be started", action.Id, monitor);
            await RecordAsync(monitor, action, null, e.Message, cancellationToken);
        }
    }

    private Task RecordAsync(string monitor, Pending action, string? run, string? error, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        transaction.Connection.Execute(
            "UPDATE monitor_actions SET status = @status, pipeline_run_id = @run, error = @error WHERE id = @Id",
            new { action.Id, status = run is null ? "failed" : "started", run, error });
        var node = new NodeRef(NodeKinds.Monitor, monitor);
        transaction.Audit(By, run is null ? "monitor_action.failed" : "monitor_action.started", node, error ?? action.Reason, null, new { action = action.Id, action.Pipeline, pipeline_run = run });
        if (run is not null)
        {
            transaction.Link(node, "triggered", new NodeRef(NodeKinds.PipelineRun, run));
        }
    }, cancellationToken);

    private sealed record Pending(string Id, string TriggerKind, string Pipeline, string Reason, string Parameters);
}
