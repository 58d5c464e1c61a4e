using Microsoft.AspNetCore.Http.HttpResults;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Web.Pages.Data;
using Slipway.Web.Pages.Deployments;
using Slipway.Web.Pages.Experiments;
using Slipway.Web.Pages.Governance;
using Slipway.Web.Pages.Home;
using Slipway.Web.Pages.Models;
using Slipway.Web.Pages.Monitors;
using Slipway.Web.Pages.SignIn;

namespace Slipway.Web.Pages;

/// <summary>Maps the pages: each reads the areas' stores and is rendered whole on the server.</summary>
public static class PagesEndpoints
{
    public static void MapSlipwayPages(this IEndpointRouteBuilder app)
    {
        app.MapGet("/assets/{digest}/{name}", (HttpContext context, Assets assets, string digest, string name) => assets.Serve(context, digest, name))
            .WithMetadata(new RequiredAccess(Permission.None)).ExcludeFromDescription();

        app.MapSignIn();
        var pages = app.MapGroup("").WithMetadata(new RequiredAccess(Permission.Read), PageRoute.Instance).ExcludeFromDescription();
        pages.AddEndpointFilter((invocation, next) =>
        {
            PageRoute.SetHeaders(invocation.HttpContext.Response);
            return next(invocation);
        });

        pages.MapGet("/", () => PageRoute.Of<HomePage>());
        pages.MapGet("/home/live", () => PageRoute.Of<HomeFragment>());
        pages.MapGet("/search", (string? q) => PageRoute.Of<Search.SearchPage>(new { Text = q?.Trim() ?? "" }));

        pages.MapExperimentPages();

        pages.MapGet("/pipelines/runs/{id}", (string id) => PageRoute.Of<PipelineRunPage>(new { RunId = id }));

        pages.MapGet("/models", () => PageRoute.Of<ModelsPage>());
        pages.MapGet("/models/{model}", (string model) => PageRoute.Of<ModelsPage>(new { Model = model }));
        pages.MapGet("/models/{model}/compare", Compare);
        pages.MapGet("/models/{model}/versions/{version}", Version);
        pages.MapGet("/lineage", (HttpRequest request) => PageRoute.Of<LineagePage>(new { Ask = LineageAsk.Read(request.Query) }));
        pages.MapApprovalPages();

        pages.MapGet("/deployments", () => PageRoute.Of<DeploymentsPage>());
        pages.MapGet("/deployments/{model}", (string model) => PageRoute.Of<DeploymentPage>(new { Model = model }));
        pages.MapRolloutPages();
        pages.MapReviewPages();

        pages.MapGet("/monitors", () => PageRoute.Of<MonitorsPage>());
        pages.MapGet("/monitors/{name}", (string name) => PageRoute.Of<MonitorPage>(new { Name = name }));
        pages.MapGet("/monitors/{name}/subjects/{subject}", (string name, string subject) => PageRoute.Of<SubjectPage>(new { Name = name, Subject = subject }));

        pages.MapGet("/data", () => PageRoute.Of<DataPage>());
        pages.MapGet("/data/{name}", (string name) => PageRoute.Of<DatasetPage>(new { Name = name }));
        pages.MapGet("/governance", () => PageRoute.Of<GovernancePage>());
        pages.MapGet("/governance/audit", (string? subject, string? actor, string? action, string? model, string? from, string? to, string? before, long? row) =>
            PageRoute.Of<AuditPage>(new { View = new AuditView(subject, actor, action, model, from, to, before, row) })).WithMetadata(new RequiredAccess(Permission.Audit));
        pages.MapGet("/governance/audit/check", () => PageRoute.Of<AuditCheckFragment>()).WithMetadata(new RequiredAccess(Permission.Audit));
        pages.MapGet("/governance/users", () => PageRoute.Of<UsersPage>()).WithMetadata(new RequiredAccess(Permission.Audit));
        pages.MapGet("/governance/documents/{file}", (string file) => PageRoute.Of<DocumentPage>(new { File = file }));
        pages.MapGet("/data/{name}/versions/{version:int}", (string name, int version) => PageRoute.Of<DatasetPage>(new { Name = name, Version = (int?)version }));
    }

    private static async Task<RazorComponentResult> Version(string model, string version, ModelRegistry registry, CancellationToken ct)
    {
        var record = registry.Get(model, version);
        var target = record.Stage switch { Stage.Development => Stage.Staging, Stage.Staging => Stage.Production, _ => (Stage?)null };
        var gate = target is { } to ? await registry.CheckAsync(model, record.Version, to, ct) : null;
        var (report, fault) = await ReadReportAsync(record, registry, ct);
        return PageRoute.Of<VersionPage>(new { Version = record, Report = report, ReportFault = fault, Gate = gate });
    }

    private static async Task<RazorComponentResult> Compare(string model, string? a, string? b, ModelRegistry registry, CancellationToken ct)
    {
        var versions = registry.ListVersions(model);
        if (versions.Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'.");
        }

        // What one asks most: the newest against what serves now, else against the one before.
        var second = b is null ? versions[0] : registry.Get(model, b);
        var before = versions.SkipWhile(version => version.Version != second.Version).Skip(1).FirstOrDefault() ?? versions[^1];
        var first = a is not null ? registry.Get(model, a)
            : registry.FindInStage(model, Stage.Production) is { } production && production.Version != second.Version ? production : before;
        return PageRoute.Of<VersionComparePage>(new
        {
            Model = model,
            Versions = versions.Select(version => version.Version).ToList(),
            Comparison = await registry.CompareAsync(model, first.Version, second.Version, ct),
        });
    }

    // A damaged report is a fact about the version, which the rest of its page must still show.
    private static async Task<(EvaluationReport? Report, string? Fault)> ReadReportAsync(ModelVersionRecord version, ModelRegistry registry, CancellationToken ct)
    {
        try
        {
            return (await registry.ReadReportAsync(version, ct), null);
        }
        catch (SlipwayException e)
        {
            return (null, e.Message);
        }
    }
}
