using System.Data.Common;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>
/// The runs whose newest metrics are not in the index of values, since they still change: <c>moving_runs</c>. What a run logs marks its rows
/// of <c>latest_metrics</c> as moving; they rest again when the run ends, or when <see cref="Max"/> others have begun to move after it.
/// </summary>
internal static class MovingRuns
{
    /// <summary>Searches look these up one by one.</summary>
    public const int Max = 500;

    /// <summary>Says that the run logs metrics.</summary>
    public static void Add(DbConnection connection, long run)
    {
        using (var add = Statement.Of(connection, "INSERT INTO moving_runs (run) VALUES ($1) ON CONFLICT DO NOTHING"))
        {
            add.Bind(1, run);
            if (add.Run() == 0)
            {
                return;
            }
        }

        long oldest;
        using (var over = Statement.Of(connection, "SELECT run FROM moving_runs ORDER BY id DESC LIMIT 1 OFFSET $1"))
        {
            over.Bind(1, (long)Max);
            if (!over.Step())
            {
                return;
            }

            oldest = over.Integer(0);
        }

        Remove(connection, oldest);
    }

    /// <summary>Brings the run's metrics into the index.</summary>
    public static void Remove(DbConnection connection, long run)
    {
        using var remove = Statement.Of(connection, "DELETE FROM moving_runs WHERE run = $1");
        remove.Bind(1, run);
        if (remove.Run() > 0)
        {
            using var rest = Statement.Of(connection, "UPDATE latest_metrics SET is_resting = 1 WHERE run = $1 AND is_resting = 0");
            rest.Bind(1, run);
            rest.Run();
        }
    }
}
