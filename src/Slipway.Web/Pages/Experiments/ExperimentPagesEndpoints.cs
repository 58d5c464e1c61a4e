using System.Globalization;
using System.Text;
using Microsoft.Net.Http.Headers;
using Slipway.Contracts;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Web.Pages.Experiments;

/// <summary>The pages about experiments and runs, with the forms on them. A form that was sent leads back to a page, so that a reload does not send it again.</summary>
internal static class ExperimentPagesEndpoints
{
    private const string DescriptionTag = "mlflow.note.content";

    public static void MapExperimentPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/experiments", (string? experiment, string? filter, string? view, string? page, HttpContext context) =>
            string.IsNullOrEmpty(experiment)
                ? PageRoute.Of<ExperimentsPage>(new { Filter = filter, Deleted = view == "deleted", PageToken = page })
                // Addresses of the time before each experiment had its own page.
                : (IResult)Results.LocalRedirect(RunsView.Of(experiment, context.Request.Query).Url));
        pages.MapPost("/experiments", CreateAsync).WithMetadata(new RequiredAccess(Permission.Write));
        pages.MapGet("/experiments/compare", (HttpContext context) => PageRoute.Of<ComparePage>(new { View = CompareView.Of(context.Request.Query) }));
        pages.MapGet("/runs/{id}", ShowRunAsync);
        pages.MapGet("/runs/{id}/metrics.csv", WriteCurveAsync);
        pages.MapGet("/runs/{id}/picture", SendPictureAsync);
        pages.MapGet("/experiments/{id}", (string id, HttpContext context) =>
            PageRoute.Of<RunsPage>(new { View = RunsView.Of(id, context.Request.Query), Notice = Moved(context.Request.Query) }));
        pages.MapGet("/experiments/{id}/runs.csv", WriteCsvAsync);
        pages.MapGet("/experiments/{id}/bin", (string id, string? to, HttpContext context) =>
            PageRoute.Of<RunsBinPage>(new { View = RunsView.Of(id, context.Request.Query), Deleted = to != "active" }));
        pages.MapPost("/experiments/{id}/bin", MoveRunsAsync).WithMetadata(new RequiredAccess(Permission.Write));
        pages.MapGet("/experiments/{id}/settings", (string id) => PageRoute.Of<ExperimentSettingsPage>(new { Experiment = id }));
        pages.MapPost("/experiments/{id}/settings", ChangeAsync).WithMetadata(new RequiredAccess(Permission.Write));
        pages.MapPost("/experiments/{id}/stage", MoveAsync).WithMetadata(new RequiredAccess(Permission.Write));
    }

    private static async Task<IResult> CreateAsync(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken ct)
    {
        var name = (await ReadFormAsync(context.Request, ct))["name"].ToString().Trim();
        try
        {
            return Results.LocalRedirect($"/experiments/{await experiments.CreateAsync(name, null, by, ct)}");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.AlreadyExists)
        {
            return PageRoute.Of<ExperimentsPage>(new { CreateName = name, CreateFault = e.Message });
        }
    }

    private static async Task<IResult> ChangeAsync(string id, HttpContext context, ExperimentStore experiments, Caller by, CancellationToken ct)
    {
        var form = await ReadFormAsync(context.Request, ct);
        var experiment = experiments.Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no experiment '{id}'.");
        var (name, description) = (form["name"].ToString().Trim(), form["description"].ToString().ReplaceLineEndings("\n").Trim());
        try
        {
            if (name != experiment.Name)
            {
                await experiments.RenameAsync(id, name, by, ct);
            }

            if (description != (experiment.Tags.GetValueOrDefault(DescriptionTag) ?? ""))
            {
                await experiments.SetTagAsync(id, DescriptionTag, description, by, ct);
            }

            return Results.LocalRedirect($"/experiments/{id}");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.AlreadyExists)
        {
            return PageRoute.Of<ExperimentSettingsPage>(new { Experiment = id, Fault = e.Message, Name = name, Description = description });
        }
    }

    private static async Task<IResult> MoveAsync(string id, HttpContext context, ExperimentStore experiments, Caller by, CancellationToken ct)
    {
        var form = await ReadFormAsync(context.Request, ct);
        var experiment = experiments.Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no experiment '{id}'.");
        var (name, reason, deleted) = (form["name"].ToString().Trim(), form["reason"].ToString().Trim(), !experiment.Deleted);
        if (Missing(name, experiment.Name, reason, deleted) is { } fault)
        {
            return PageRoute.Of<ExperimentSettingsPage>(new { Experiment = id, MoveFault = fault, Reason = reason });
        }

        await experiments.SetDeletedAsync(id, deleted, by, ct, reason);
        return Results.LocalRedirect(deleted ? "/experiments?view=deleted" : $"/experiments/{id}");
    }

    private static async Task<IResult> MoveRunsAsync(string id, HttpContext context, ExperimentStore experiments, RunBin bin, Caller by, CancellationToken ct)
    {
        var form = await ReadFormAsync(context.Request, ct);
        var experiment = experiments.Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no experiment '{id}'.");
        var runs = form["run"].OfType<string>().Distinct().ToList();
        var (name, reason, deleted) = (form["name"].ToString().Trim(), form["reason"].ToString().Trim(), form["to"] != "active");
        var view = new RunsView { Experiment = id, Selected = runs };
        if (Missing(name, experiment.Name, reason, deleted) is { } fault)
        {
            return PageRoute.Of<RunsBinPage>(new { View = view, Deleted = deleted, Fault = fault, Reason = reason });
        }

        var moved = await bin.MoveAsync(runs, deleted, reason, by, ct);
        return Results.LocalRedirect($"{view.Path}?{(deleted ? "deleted" : "restored")}={moved}");
    }

    // The name guards against the wrong experiment; to bring something back harms nothing and wants a reason only.
    private static string? Missing(string name, string expected, string reason, bool deletes) =>
        deletes && name != expected ? $"Type the experiment's name, {expected}, to show that it is the one you mean."
        : reason.Length == 0 ? "Say why: the reason is kept in the audit trail."
        : reason.Length > 1000 ? "The reason may have 1,000 characters at most."
        : null;

    private static string? Moved(IQueryCollection query) =>
        int.TryParse(query["deleted"], NumberStyles.None, CultureInfo.InvariantCulture, out var deleted) ? $"{Shared.Format.Plural(deleted, "run")} moved to the bin; nothing is lost, and 'in the bin' shows them."
        : int.TryParse(query["restored"], NumberStyles.None, CultureInfo.InvariantCulture, out var restored) ? $"{Shared.Format.Plural(restored, "run")} restored."
        : null;

    // Page after page is read and sent: any number of runs in the memory of a thousand.
    private static async Task WriteCsvAsync(string id, HttpContext context, ExperimentStore experiments, RunTable table, CancellationToken ct)
    {
        var view = RunsView.Of(id, context.Request.Query);
        IReadOnlyList<string> ids = id == RunsView.AllExperiments
            ? [.. experiments.List().Select(experiment => experiment.ExperimentId)]
            : [(experiments.Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no experiment '{id}'.")).ExperimentId];
        var columns = view.Columns.Count > 0 ? view.Columns : [.. table.KnownColumns(ids).Where(known => known.Column.Kind is RunColumnKind.Metric or RunColumnKind.Parameter).Select(known => known.Column)];
        var query = view.Query(ids);
        var page = table.Page(query, columns, 1000, null);
        context.Response.ContentType = "text/csv; charset=utf-8";
        context.Response.Headers.ContentDisposition = "attachment; filename=\"runs.csv\"";
        await using var writer = new StreamWriter(context.Response.Body, new UTF8Encoding(false), 32 * 1024);
        await writer.WriteAsync(Csv.Line(["run_id", "name", "status", "user", "start_time", "end_time", .. columns.Select(column => column.ToString())]));
        while (true)
        {
            foreach (var row in page.Items)
            {
                await writer.WriteAsync(Csv.Line(
                [
                    row.RunId, Csv.Safe(row.Name), row.Status.ToString().ToLowerInvariant(), Csv.Safe(row.UserId), Iso(row.StartTimeMs), row.EndTimeMs is { } end ? Iso(end) : "",
                    .. columns.Select(column => column.Kind is RunColumnKind.Metric ? row.Text(column) ?? "" : Csv.Safe(row.Text(column) ?? "")),
                ]));
            }

            if (page.NextCursor is not { } next)
            {
                return;
            }

            await writer.FlushAsync(ct);
            page = table.Page(query, columns, 1000, next);
        }
    }

    private static async Task<IResult> ShowRunAsync(
        string id, string? tab, string? path, HttpContext context, RunStore runs, BlobStore blobs, DuckDbDatabase duckDb, CancellationToken ct)
    {
        var run = runs.Get(id);
        var file = string.IsNullOrEmpty(path) ? null
            : run.Artifacts.FirstOrDefault(artifact => artifact.Path == path) ?? throw new SlipwayException(ErrorCode.NotFound, $"Run {id} has no file '{path}'.");
        return PageRoute.Of<RunPage>(new
        {
            Run = run,
            Tab = tab is "curves" or "system" or "files" ? tab : file is null ? "overview" : "files",
            Choices = CurveChoices.Of(context.Request.Query),
            File = file,
            Preview = file is null ? null : await ArtifactPreview.ReadAsync(file, blobs, duckDb, ct),
        });
    }

    // Only what begins like a picture, told to the browser as that picture: a page with scripts under a picture's name is not sent.
    private static async Task<IResult> SendPictureAsync(string id, string path, HttpContext context, ArtifactStore artifacts, BlobStore blobs, CancellationToken ct)
    {
        var file = artifacts.Get(id, path);
        var type = ArtifactPreview.PictureType(await ArtifactPreview.HeadAsync(file, blobs, ct))
            ?? throw new SlipwayException(ErrorCode.InvalidArgument, $"'{path}' does not begin like a PNG, JPEG, GIF or WebP picture; download it instead.");
        context.Response.Headers.ContentSecurityPolicy = "default-src 'none'; sandbox";
        context.Response.Headers.CacheControl = "private, no-cache";
        return Results.Stream(await blobs.OpenReadAsync(file.Sha256, ct), type, entityTag: new EntityTagHeaderValue($"\"{file.Sha256}\""));
    }

    private static async Task WriteCurveAsync(string id, string key, HttpContext context, RunStore runs, CancellationToken ct)
    {
        var page = runs.MetricHistory(id, key, 10_000, null);
        context.Response.ContentType = "text/csv; charset=utf-8";
        context.Response.Headers.ContentDisposition = "attachment; filename=\"metric.csv\"";
        await using var writer = new StreamWriter(context.Response.Body, new UTF8Encoding(false), 32 * 1024);
        await writer.WriteAsync(Csv.Line(["step", "time", "value"]));
        while (true)
        {
            foreach (var point in page.Items)
            {
                await writer.WriteAsync(Csv.Line([point.Step.ToString(CultureInfo.InvariantCulture), Iso(point.TimestampMs), point.Value.ToString("R", CultureInfo.InvariantCulture)]));
            }

            if (page.NextCursor is not { } next)
            {
                return;
            }

            await writer.FlushAsync(ct);
            page = runs.MetricHistory(id, key, 10_000, next);
        }
    }

    private static string Iso(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms).UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    internal static async Task<IFormCollection> ReadFormAsync(HttpRequest request, CancellationToken ct)
    {
        try
        {
            return request.HasFormContentType
                ? await request.ReadFormAsync(ct)
                : throw new SlipwayException(ErrorCode.InvalidArgument, "This address takes the form of its page; programs use the API under /api.");
        }
        catch (Exception e) when (e is InvalidDataException or (IOException and not BadHttpRequestException)) // Too many fields; ends in the middle.
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The form is cut off or too big; select fewer runs at a time.", e);
        }
    }
}
