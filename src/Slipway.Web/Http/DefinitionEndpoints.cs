using Microsoft.AspNetCore.Http.HttpResults;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Web.Http;

/// <summary>Applies folders of definition files: checked all together, stored by the project that owns each kind.</summary>
internal static class DefinitionEndpoints
{
    private const int FaultsShownMax = 20;
    private const long DiffCellsMax = 4_000_000;

    public static void MapDefinitions(this IEndpointRouteBuilder app)
    {
        app.MapPost("/api/slipway/v1/definitions", Apply).WithSummary("Apply definition files").WithMetadata(new RequiredAccess(Permission.Write));
        app.MapGet("/api/slipway/v1/definitions", List).WithSummary("List the definitions in force").WithMetadata(new RequiredAccess(Permission.Read));
    }

    internal static Ok<IReadOnlyList<DefinitionResponse>> List(DefinitionStore definitions, string? kind = null) =>
        TypedResults.Ok<IReadOnlyList<DefinitionResponse>>([.. definitions.List(kind).Select(definition => new DefinitionResponse(
            definition.Kind, definition.Name, definition.Version, definition.Sha256, definition.AppliedBy,
            DateTimeOffset.FromUnixTimeMilliseconds(definition.AppliedAtMs), definition.Yaml))]);

    internal static async Task<Ok<ApplyResponse>> Apply(
        ApplyRequest request, IEnumerable<IDefinitionKind> kinds, DefinitionStore definitions, Caller by, CancellationToken ct)
    {
        if (request.Files is not { Count: > 0 })
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'files' is empty; give at least one definition file.");
        }

        var owners = kinds.ToDictionary(kind => kind.Kind, StringComparer.Ordinal);
        var faults = new List<string>();
        var plan = new List<(DefinitionFile File, IDefinitionKind Owner, string Name)>();
        foreach (var (index, file) in request.Files.Index())
        {
            if (file is not { Path: not null, Yaml: not null })
            {
                faults.Add($"files[{index}] needs 'path' and 'yaml', both texts");
                continue;
            }

            try
            {
                var yaml = DefinitionYaml.Parse(file.Yaml);
                var kind = yaml.Text("kind");
                var name = yaml.Text("name");
                if (name.Length == 0)
                {
                    faults.Add($"{file.Path}: 'name' is missing; give it a text");
                }
                else if (owners.TryGetValue(kind, out var owner))
                {
                    owner.Validate(DefinitionYaml.Parse(file.Yaml));
                    plan.Add((file, owner, name));
                }
                else
                {
                    faults.Add($"{file.Path}: 'kind' is {(kind.Length == 0 ? "missing" : $"'{kind}'")}; it must be one of {string.Join(", ", owners.Keys.Order(StringComparer.Ordinal))}");
                }
            }
            catch (SlipwayException e)
            {
                faults.Add($"{file.Path}: {e.Message.TrimEnd('.')}");
            }
        }

        foreach (var twice in plan.GroupBy(item => (item.Owner.Kind, item.Name)).Where(group => group.Count() > 1))
        {
            faults.Add($"{string.Join(" and ", twice.Select(item => item.File.Path))} both define {twice.Key.Kind} '{twice.Key.Name}'; keep one");
        }

        if (faults.Count > 0)
        {
            var more = faults.Count > FaultsShownMax ? $"; and {faults.Count - FaultsShownMax} more files" : "";
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{string.Join("; ", faults.Take(FaultsShownMax))}{more}. Nothing was applied.");
        }

        var changes = plan.OrderBy(item => item.Owner.Order).ThenBy(item => item.Name, StringComparer.Ordinal).Select(item =>
        {
            var current = definitions.Find(item.Owner.Kind, item.Name);
            return (item.File, item.Owner, item.Name, Current: current, Change: current is null ? "create" : current.Yaml == item.File.Yaml ? "unchanged" : "update");
        }).ToList();
        foreach (var (file, owner, _, current, _) in changes.Where(item => item.Change != "unchanged"))
        {
            DemandPermission(by, request.DryRun, file, owner, current);
        }

        var results = new List<ApplyResult>();
        foreach (var (file, owner, name, current, change) in changes)
        {
            var diff = change is "update" ? Diff(current!.Yaml, file.Yaml) : [];
            var version = request.DryRun
                ? (current?.Version ?? 0) + (change is "unchanged" ? 0 : 1)
                : (await owner.ApplyAsync(file.Yaml, by, ct)).Version;
            results.Add(new ApplyResult(file.Path, owner.Kind, name, change, version, diff));
        }

        return TypedResults.Ok(new ApplyResponse(results));
    }

    // Whoever may train a model may not for that reason loosen the policy that its promotion must pass. A file that comes to be about
    // another model needs the right to both; a dry run shows what is in force, so that the caller must be allowed to see it.
    private static void DemandPermission(Caller by, bool dryRun, DefinitionFile file, IDefinitionKind owner, Definition? current)
    {
        var needed = dryRun ? Permission.Read : owner.Needs;
        var about = owner.About(DefinitionYaml.Parse(file.Yaml)).Concat(current is null ? [] : AboutBefore(owner, current)).Distinct().ToList();
        var refused = about.FindIndex(resource => !by.Access.May(needed, resource));
        if (refused >= 0 || (about.Count == 0 && !by.Access.May(needed)))
        {
            throw new SlipwayException(ErrorCode.PermissionDenied,
                $"{file.Path}: a {owner.Kind} needs the permission '{needed.ToString().ToLowerInvariant()}'{(refused >= 0 ? $" on {about[refused]}" : "")}, which '{by.Name}' ({Roles.Name(by.Access.Role)}) does not have. Nothing was applied.");
        }
    }

    private static IReadOnlyList<Resource> AboutBefore(IDefinitionKind owner, Definition current)
    {
        try
        {
            return owner.About(DefinitionYaml.Parse(current.Yaml));
        }
        catch (SlipwayException)
        {
            return []; // Written for an older build whose keys are gone.
        }
    }

    // Longest common subsequence over lines; definition files are short.
    private static List<string> Diff(string before, string after)
    {
        var a = before.Split('\n');
        var b = after.Split('\n');
        if ((long)a.Length * b.Length > DiffCellsMax)
        {
            return [$"- {a.Length} lines", $"+ {b.Length} lines"];
        }

        var common = new int[a.Length + 1, b.Length + 1];
        for (var i = a.Length - 1; i >= 0; i--)
        {
            for (var j = b.Length - 1; j >= 0; j--)
            {
                common[i, j] = a[i] == b[j] ? common[i + 1, j + 1] + 1 : Math.Max(common[i + 1, j], common[i, j + 1]);
            }
        }

        var lines = new List<string>();
        for (int i = 0, j = 0; i < a.Length || j < b.Length;)
        {
            if (i < a.Length && j < b.Length && a[i] == b[j])
            {
                i++;
                j++;
            }
            else if (i < a.Length && (j == b.Length || common[i + 1, j] >= common[i, j + 1]))
            {
                lines.Add($"- {a[i++]}");
            }
            else
            {
                lines.Add($"+ {b[j++]}");
            }
        }

        return lines;
    }
}
