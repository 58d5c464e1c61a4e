using Dapper;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>Moves many runs to the bin at once, or back: all of them or none, each with the reason in the audit trail.</summary>
public sealed class RunBin(Database database)
{
    /// <summary>Runs moved at once.</summary>
    public const int RunsMax = 1000;

    /// <summary>Moves the runs; those that are there already stay as they are.</summary>
    /// <returns>How many moved.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: no run, too many, or no reason; NotFound: one of the runs, and then none has moved.</exception>
    public Task<int> MoveAsync(IReadOnlyList<string> runIds, bool deleted, string reason, Caller by, CancellationToken cancellationToken)
    {
        RunLimits.CheckCount("runs", runIds.Count, RunsMax);
        if (runIds.Count == 0)
        {
            throw RunLimits.Invalid("No run is named; select at least one.");
        }

        if (string.IsNullOrWhiteSpace(reason))
        {
            throw RunLimits.Invalid($"'reason' is missing; say why the runs are {(deleted ? "deleted" : "restored")}.");
        }

        RunLimits.CheckLength("'reason'", reason, 1000);
        var (from, to) = deleted ? ("active", "deleted") : ("deleted", "active");
        return database.WriteAsync(transaction =>
        {
            var moved = 0;
            foreach (var runId in runIds.Distinct())
            {
                var run = RunStore.Number(transaction.Connection, runId);
                if (transaction.Connection.Execute("UPDATE runs SET lifecycle_stage = @to WHERE id = @run AND lifecycle_stage = @from", new { run, from, to }) > 0)
                {
                    transaction.Audit(by, deleted ? "run.deleted" : "run.restored", RunStore.Node(runId), reason.Trim(), before: new { stage = from }, after: new { stage = to });
                    moved++;
                }
            }

            return moved;
        }, cancellationToken);
    }
}
