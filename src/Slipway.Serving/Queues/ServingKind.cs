using Slipway.Contracts;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Queues;

/// <summary>
/// The <c>serving</c> kind of definition files: how a model's requests run and wait, and what of them is logged; one file to a model, which it is named after. It holds for every
/// version of the model that this server has in memory, from the moment it is applied, and for those loaded later.
/// </summary>
internal sealed class ServingKind(Database database, PinnedVersions pinned) : ServedModelKind<ServingSettings>(database, ServingKind.Name, order: 65)
{
    public const string Name = "serving";

    /// <summary>Reads and checks a file.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    public static (string Model, ServingSettings Settings) Parse(DefinitionYaml yaml)
    {
        if (yaml.Text("kind") is var kind && kind.Length > 0 && kind != Name)
        {
            yaml.Fault("kind", $"must be {Name}, not '{kind}'");
        }

        var model = yaml.Text("name");
        var settings = QueueSettings.Default with { Instances = yaml.OptionalInteger("instances", 1, 1024) };
        var scaling = yaml.OptionalMap("scaling") is { } scaled ? ScalingPolicy.Parse(scaled) : ScalingPolicy.Default;
        if (settings.Instances is not null && scaling.Max is not null)
        {
            yaml.Fault("instances", "says what 'scaling.max' says; leave one of them out");
        }

        settings = settings with { Instances = settings.Instances ?? scaling.Max };
        if (yaml.OptionalMap("queue") is { } queue)
        {
            settings = settings with
            {
                WaitingMax = queue.OptionalInteger("max", 0, 1_000_000) ?? settings.WaitingMax,
                WaitMax = queue.OptionalDuration("max_wait") ?? settings.WaitMax,
            };
            if (settings.WaitMax <= TimeSpan.Zero || settings.WaitMax > TimeSpan.FromHours(1))
            {
                queue.Fault("max_wait", "must be more than nothing and at most 1h");
            }
        }

        if (yaml.OptionalMap("batching") is { } batching)
        {
            settings = settings with
            {
                BatchRowsMax = batching.Integer("max_rows", 2, 65_536),
                BatchDelay = TimeSpan.FromMilliseconds(batching.OptionalInteger("max_delay_ms", 0, 60_000) ?? 0),
            };
        }

        if (settings is { BatchRowsMax: > 1, WaitingMax: 0 })
        {
            yaml.Fault("queue.max", "must be at least 1 beside 'batching', whose requests gather in the queue");
        }

        if (settings.WaitingMax == 0 && scaling.ToZero)
        {
            yaml.Fault("queue.max", "must be at least 1 beside a 'scaling.min' of 0, with which requests wait while the model is loaded again");
        }

        if (yaml.OptionalMap("cache") is { } cache)
        {
            settings = settings with { CacheEntries = cache.Integer("entries", 1, 10_000_000) };
        }

        var fallback = yaml.OptionalFilled("fallback");
        var log = yaml.OptionalMap("log") is { } logged ? LogPolicy.Parse(logged) : LogPolicy.All;
        yaml.Done();
        return (model, new ServingSettings(settings, log, fallback, scaling));
    }

    protected override (string Name, string Model, ServingSettings Spec) Read(DefinitionYaml yaml)
    {
        var (model, settings) = Parse(yaml);
        return (model, model, settings);
    }

    protected override void Use(string model, ServingSettings spec)
    {
        foreach (var loaded in pinned.InMemory(model))
        {
            loaded.Use(spec);
        }
    }
}

/// <summary>What a model's definition says.</summary>
/// <param name="Queue">How requests run and wait.</param>
/// <param name="Log">What of its predictions is kept.</param>
/// <param name="Fallback">The version that answers when the one that should fails; null for none.</param>
/// <param name="Scaling">How much of it is kept ready.</param>
internal sealed record ServingSettings(QueueSettings Queue, LogPolicy Log, string? Fallback, ScalingPolicy Scaling)
{
    public static ServingSettings Default { get; } = new(QueueSettings.Default, LogPolicy.All, null, ScalingPolicy.Default);
}
