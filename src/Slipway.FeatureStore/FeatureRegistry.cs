using System.Collections.Concurrent;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Datasets;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.FeatureStore;

/// <summary>Owns <c>feature_service_versions</c>, and knows every version of every feature view and service.</summary>
public sealed class FeatureRegistry(Database database, DefinitionStore definitions, DatasetStore datasets, DuckDbDatabase duckDb)
{
    // A version never changes, so that what was parsed once stays right.
    private readonly ConcurrentDictionary<(string Name, long Version), FeatureViewRecord> _views = [];
    private readonly ConcurrentDictionary<(string Name, long Version), FeatureServiceRecord> _services = [];

    /// <summary>The views in force, by name.</summary>
    public IReadOnlyList<FeatureViewRecord> Views() => [.. definitions.List(FeatureViewDefinition.Kind).Select(View)];

    /// <summary>A view; null when there is none.</summary>
    /// <param name="name"><c>name</c> for the newest version, or <c>name@version</c>.</param>
    public FeatureViewRecord? FindView(string name)
    {
        var at = name.IndexOf('@', StringComparison.Ordinal);
        var stored = at < 0
            ? definitions.Find(FeatureViewDefinition.Kind, name)
            : int.TryParse(name.AsSpan(at + 1), out var version) ? definitions.Find(FeatureViewDefinition.Kind, name[..at], version) : null;
        return stored is null ? null : View(stored);
    }

    /// <summary>As <see cref="FindView"/>, for callers that need one.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public FeatureViewRecord RequireView(string name) =>
        FindView(name) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no feature view '{name}'; apply a file of kind feature_view with that name first.");

    /// <summary>The services in force, by name.</summary>
    public IReadOnlyList<FeatureServiceRecord> Services() =>
        [.. definitions.List(FeatureServiceDefinition.Kind).Select(stored => FindService(stored.Name)).OfType<FeatureServiceRecord>()];

    /// <summary>A service; null when there is none.</summary>
    /// <param name="name">The service.</param>
    /// <param name="version">Null for the newest.</param>
    public FeatureServiceRecord? FindService(string name, int? version = null)
    {
        if (version is { } pinned && _services.TryGetValue((name, pinned), out var known))
        {
            return known;
        }

        var row = database.Read(connection => connection.QueryFirstOrDefault<ServiceRow>(
            """
            SELECT version AS Version, definition_version AS DefinitionVersion, views_json AS ViewsJson
              FROM feature_service_versions WHERE name = @name AND (@version IS NULL OR version = @version) ORDER BY version DESC LIMIT 1
            """, new { name, version }));
        return row is null ? null : _services.GetOrAdd((name, row.Version), _ => Service(name, row));
    }

    /// <summary>As <see cref="FindService"/>, for callers that need one.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public FeatureServiceRecord RequireService(string name, int? version = null) =>
        FindService(name, version) ?? throw new SlipwayException(ErrorCode.NotFound, version is null
            ? $"There is no feature service '{name}'; apply a file of kind feature_service with that name first."
            : $"Feature service '{name}' has no version {version}.");

    /// <summary>Checks a view against its dataset and the services that use it, and stores it.</summary>
    internal async Task<AppliedDefinition> ApplyViewAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var view = FeatureViewDefinition.Parse(DefinitionYaml.Parse(yaml));
        if (!view.OnDemand)
        {
            FeatureViewSql.Check(duckDb, view, datasets.Definition(view.Source!).Definition, cancellationToken);
        }

        CheckUnique(view);
        return await database.WriteAsync(transaction =>
        {
            var (stored, changed) = DefinitionStore.Put(transaction, by, FeatureViewDefinition.Kind, view.Name, yaml);
            if (changed)
            {
                var edited = new FeatureViewRecord((int)stored.Version, view);
                foreach (var service in Services().Where(service => service.Views.Any(used => used.Name == view.Name)))
                {
                    var views = ViewsInForce(edited);
                    Resolve(service.Definition, views); // Refuses an edit that would leave the service without one of its features.
                    AddServiceVersion(transaction, by, service.Definition, service.DefinitionVersion, views);
                }
            }

            return new AppliedDefinition(FeatureViewDefinition.Kind, view.Name, stored.Version, changed);
        }, cancellationToken);
    }

    /// <summary>Checks a service against the views in force and stores it.</summary>
    internal Task<AppliedDefinition> ApplyServiceAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var service = FeatureServiceDefinition.Parse(DefinitionYaml.Parse(yaml));
        var views = ViewsInForce(null);
        Resolve(service, views);
        return database.WriteAsync(transaction =>
        {
            var (stored, changed) = DefinitionStore.Put(transaction, by, FeatureServiceDefinition.Kind, service.Name, yaml);
            var version = changed
                ? AddServiceVersion(transaction, by, service, stored.Version, views)
                : transaction.Connection.ExecuteScalar<long>("SELECT max(version) FROM feature_service_versions WHERE name = @Name", new { service.Name });
            return new AppliedDefinition(FeatureServiceDefinition.Kind, service.Name, version, changed);
        }, cancellationToken);
    }

    private static long AddServiceVersion(
        WriteTransaction transaction, Caller by, FeatureServiceDefinition service, long definitionVersion, IReadOnlyDictionary<string, FeatureViewRecord> views)
    {
        var viewIds = Resolve(service, views).Select(feature => feature.View.Id).Distinct(StringComparer.Ordinal).ToList();
        var version = transaction.Connection.ExecuteScalar<long>(
            """
            INSERT INTO feature_service_versions (name, version, definition_version, views_json, created_at_ms)
            SELECT @Name, coalesce(max(version), 0) + 1, @definitionVersion, @viewsJson, @now FROM feature_service_versions WHERE name = @Name
            RETURNING version
            """,
            new { service.Name, definitionVersion, viewsJson = JsonSerializer.Serialize(viewIds), now = transaction.NowMs });
        transaction.Audit(by, "feature_service.versioned", new NodeRef(NodeKinds.Definition, $"{FeatureServiceDefinition.Kind}/{service.Name}@{version}"), null, null,
            new { version, definitionVersion, views = viewIds });
        foreach (var view in viewIds)
        {
            transaction.Link(new NodeRef(NodeKinds.FeatureView, view), "includes", new NodeRef(NodeKinds.FeatureService, $"{service.Name}@{version}"));
        }

        return version;
    }

    // Two views of one entity may not define the same feature: the reference would mean either.
    private void CheckUnique(FeatureViewDefinition view)
    {
        foreach (var other in Views().Where(other => other.Name != view.Name && other.Definition.Entity == view.Entity))
        {
            if (view.Features.FirstOrDefault(feature => other.Definition.Features.Any(taken => taken.Name == feature.Name)) is { } twice)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument,
                    $"'features' names {view.Entity}:{twice.Name}, which the view '{other.Name}' defines already; give it another name.");
            }
        }
    }

    private Dictionary<string, FeatureViewRecord> ViewsInForce(FeatureViewRecord? edited)
    {
        var views = Views().ToDictionary(view => view.Name, StringComparer.Ordinal);
        if (edited is not null)
        {
            views[edited.Name] = edited;
        }

        return views;
    }

    private FeatureViewRecord View(Definition stored) => _views.GetOrAdd((stored.Name, stored.Version),
        _ => new FeatureViewRecord((int)stored.Version, FeatureViewDefinition.Parse(DefinitionYaml.Parse(stored.Yaml))));

    private FeatureServiceRecord Service(string name, ServiceRow row)
    {
        var stored = definitions.Find(FeatureServiceDefinition.Kind, name, row.DefinitionVersion)!;
        var definition = FeatureServiceDefinition.Parse(DefinitionYaml.Parse(stored.Yaml));
        var views = JsonSerializer.Deserialize<List<string>>(row.ViewsJson)!.Select(RequireView).ToDictionary(view => view.Name, StringComparer.Ordinal);
        return new FeatureServiceRecord((int)row.Version, row.DefinitionVersion, definition, Resolve(definition, views));
    }

    /// <summary>Finds each reference's view and checks that the service brings what the view needs.</summary>
    private static List<ServedFeature> Resolve(FeatureServiceDefinition service, IReadOnlyDictionary<string, FeatureViewRecord> views)
    {
        var faults = new List<string>();
        var features = new List<ServedFeature>();
        foreach (var reference in service.Features)
        {
            var (entity, name) = (reference[..reference.IndexOf(':', StringComparison.Ordinal)], reference[(reference.IndexOf(':', StringComparison.Ordinal) + 1)..]);
            var view = views.Values.FirstOrDefault(candidate => candidate.Definition.Entity == entity && candidate.Definition.Features.Any(feature => feature.Name == name));
            if (view is null)
            {
                faults.Add($"'features' names {reference}, which no feature view defines");
                continue;
            }

            CheckInputs(service, view.Definition, faults);
            features.Add(new ServedFeature(reference, view, view.Definition.Features.First(feature => feature.Name == name)));
        }

        return faults.Count == 0
            ? features
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"Feature service '{service.Name}': {string.Join("; ", faults.Distinct(StringComparer.Ordinal))}.");
    }

    private static void CheckInputs(FeatureServiceDefinition service, FeatureViewDefinition view, List<string> faults)
    {
        foreach (var input in view.Inputs)
        {
            var given = service.Inputs.FirstOrDefault(candidate => candidate.Name == input.Name);
            if (given?.Type != input.Type)
            {
                faults.Add(given is null
                    ? $"'inputs' lacks '{input.Name}' ({input.Type}), which the view '{view.Name}' computes from"
                    : $"'inputs' has '{input.Name}' as {given.Type}, but the view '{view.Name}' computes from {input.Type}");
            }
        }

        service.Keys.TryGetValue(view.Entity, out var mapping);
        foreach (var key in view.Keys)
        {
            // A key of the same name as an input needs no mapping.
            var input = mapping is null ? key : mapping.GetValueOrDefault(key);
            var given = service.Inputs.FirstOrDefault(candidate => candidate.Name == input);
            if (given is null)
            {
                faults.Add($"'keys.{view.Entity}' must say which input is '{key}'");
            }
            else if (given.Type is not ("string" or "int32" or "int64" or "boolean"))
            {
                faults.Add($"'keys.{view.Entity}.{key}' names '{given.Name}', which is {given.Type}: a key is a string or a whole number");
            }
        }
    }

    private sealed record ServiceRow(long Version, long DefinitionVersion, string ViewsJson);
}
