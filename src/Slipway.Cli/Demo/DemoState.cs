using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Cli.Demo;

/// <summary>How far an earlier start of the demo came, beside the server's own records: the users' tokens and the replay's clock.</summary>
internal sealed record DemoState
{
    /// <summary>Token of the user that trains and asks for promotions.</summary>
    public string? EngineerToken { get; init; }

    /// <summary>Token of the user that approves.</summary>
    public string? ApproverToken { get; init; }

    /// <summary>Traffic before this event time has been sent.</summary>
    public DateTimeOffset? ReplayedTo { get; init; }

    /// <summary>The pipeline run that retrained after drift.</summary>
    public string? RetrainingRun { get; init; }

    /// <summary>Rollout of the retrained version, and of the two drills.</summary>
    public string? HealthyRollout { get; init; }

    /// <inheritdoc cref="HealthyRollout"/>
    public string? KilometresRollout { get; init; }

    /// <inheritdoc cref="HealthyRollout"/>
    public string? SlowRollout { get; init; }

    public static DemoState Load(string path)
    {
        try
        {
            return File.Exists(path) ? JsonSerializer.Deserialize<DemoState>(File.ReadAllText(path), JsonDefaults.Options)! : new DemoState();
        }
        catch (JsonException)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' is not readable as JSON; delete it (the server's records are not in it) and start again.");
        }
    }

    public void Save(string path)
    {
        // Written beside and renamed: a kill in between leaves the old file whole.
        var temporary = path + ".new";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(temporary, options))
        {
            JsonSerializer.Serialize(file, this, JsonDefaults.Options);
            file.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
    }
}
