using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Governance.Audit;
using Slipway.Governance.Documents;
using Slipway.Governance.Evidence;
using Slipway.Governance.Maturity;
using Slipway.Governance.ModelPages;
using Slipway.Governance.Verification;
using Slipway.Storage;

namespace Slipway.Governance;

/// <summary>Maps verification, evidence, maturity and documents.</summary>
public static class GovernanceEndpoints
{
    /// <summary>Maps <c>/verify</c>, <c>/evidence</c>, <c>/maturity</c> and <c>/documents</c>.</summary>
    public static void MapSlipwayGovernance(this IEndpointRouteBuilder app)
    {
        var read = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Read));
        read.MapGet("/verify", Verify).WithSummary("Recount the records: audit chain, blobs, lineage of production versions");
        read.MapGet("/evidence", Ask).WithSummary("Ask a named query again, as a document names it");
        read.MapGet("/maturity", Assess).WithSummary("Rate five dimensions by what the records show");
        read.MapGet("/documents", List).WithSummary("List documents, newest first, with a flag on stale ones");
        read.MapGet("/documents/{id}", Show).WithSummary("Show a document as Markdown; without a version, the newest");
        read.MapGet("/model-pages", ListPages).WithSummary("List the pages of the models, with the index as Markdown");
        read.MapGet("/model-pages/page", ShowPage).WithSummary("Show a model's page as Markdown, its commands made for the address of the request");
        app.MapAudit();
        app.MapPost("/api/slipway/v1/documents", Generate).WithSummary("Write a document from the records of now").WithMetadata(new RequiredAccess(Permission.Write));
    }

    private static Ok<ModelPageList> ListPages(HttpContext context, ModelPageComposer pages) => TypedResults.Ok(
        new ModelPageList(pages.Index(Asked(context)), [.. pages.Models().Select(model => new ModelPageName(model, PageFolder.FileOf(model)))]));

    private static ContentHttpResult ShowPage(HttpContext context, string? model, ModelPageComposer pages) => TypedResults.Text(
        pages.Page(model is { Length: > 0 } ? model : throw new SlipwayException(ErrorCode.InvalidArgument, "'model' is missing; name the model."), Asked(context)),
        "text/markdown; charset=utf-8");

    // The address at which the caller reached us works for the caller.
    private static string Asked(HttpContext context) => $"{context.Request.Scheme}://{context.Request.Host}";

    private static async Task<Ok<VerificationReport>> Verify(Verifier verifier, CancellationToken ct) => TypedResults.Ok(await verifier.VerifyAsync(ct));

    private static async Task<Ok<EvidenceItem>> Ask(string query, EvidenceResolver resolver, CancellationToken ct) => TypedResults.Ok(await resolver.AskAsync(query, ct));

    private static async Task<Ok<MaturityReport>> Assess(string? model, MaturityAssessor assessor, CancellationToken ct) => TypedResults.Ok(await assessor.AssessAsync(model, ct));

    private static async Task<Ok<DocumentList>> List(DocumentStore documents, CancellationToken ct) => TypedResults.Ok(new DocumentList(await documents.ListAsync(ct)));

    private static async Task<ContentHttpResult> Show(string id, DocumentStore documents, CancellationToken ct) =>
        TypedResults.Text(await documents.ReadAsync(id, ct), "text/markdown; charset=utf-8");

    private static async Task<Results<Created<GeneratedDocument>, Ok<GeneratedDocument>>> Generate(GenerateDocument request, DocumentStore documents, Caller by, CancellationToken ct)
    {
        var generated = await documents.GenerateAsync(request, by, ct);
        return generated.Created ? TypedResults.Created($"/api/slipway/v1/documents/{generated.Document.Id}", generated) : TypedResults.Ok(generated);
    }
}
