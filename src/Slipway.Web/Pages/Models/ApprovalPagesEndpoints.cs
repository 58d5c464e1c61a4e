using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Web.Pages.Experiments;

namespace Slipway.Web.Pages.Models;

/// <summary>The pages on which people decide on promotions and look back. A form that was sent leads back to the page, so that a reload does not send it again.</summary>
internal static class ApprovalPagesEndpoints
{
    // A gate reads every file of its version; beyond these, the page says so and the version's own page shows it.
    private const int GatesMax = 20;

    public static void MapApprovalPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/approvals", (string? done, ModelRegistry registry, HttpContext context, CancellationToken ct) => ShowAsync(registry, context, done, null, null, null, ct));
        foreach (var (verb, needs, act) in ((string, Permission, Func<ModelRegistry, string, string, Caller, CancellationToken, Task>)[])
            [
                ("approve", Permission.Approve, (registry, id, comment, by, ct) => registry.ApproveAsync(id, comment, by, ct)),
                ("reject", Permission.Approve, (registry, id, comment, by, ct) => registry.RejectAsync(id, comment, by, ct)),
                ("withdraw", Permission.Write, (registry, id, comment, by, ct) => registry.WithdrawPromotionAsync(id, comment, by, ct)),
                ("comment", Permission.Read, (registry, id, comment, by, ct) => registry.CommentAsync(id, comment, by, ct)),
                ("execute", Permission.Operate, (registry, id, _, by, ct) => registry.ExecutePromotionAsync(id, by, ct)),
            ])
        {
            pages.MapPost($"/approvals/{{id}}/{verb}", (string id, HttpContext context, ModelRegistry registry, Caller by, CancellationToken ct) => ActAsync(id, verb, act, context, registry, by, ct))
                .WithMetadata(new RequiredAccess(needs));
        }

        pages.MapGet("/models/{model}/as-of", (string model, string? at, string? place, ModelRegistry registry, TimeProvider clock) =>
        {
            _ = registry.FindModel(model) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'.");
            var instant = string.IsNullOrWhiteSpace(at) ? clock.GetUtcNow()
                : DateTimeOffset.TryParse(at, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed) ? parsed
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"'at' must be a date or instant such as 2001-05-31 or 2001-05-31T06:00:00Z, not '{at}'.");
            return PageRoute.Of<AsOfPage>(new { Report = registry.AsOf(model, string.IsNullOrWhiteSpace(place) ? "production" : place.Trim(), instant) });
        });
    }

    private static async Task<IResult> ActAsync(
        string id, string verb, Func<ModelRegistry, string, string, Caller, CancellationToken, Task> act, HttpContext context, ModelRegistry registry, Caller by, CancellationToken ct)
    {
        var comment = (await ExperimentPagesEndpoints.ReadFormAsync(context.Request, ct))["comment"].ToString().Trim();
        try
        {
            if (verb == "comment" && !MaySpeak(context))
            {
                throw new SlipwayException(ErrorCode.PermissionDenied, "Only users who may ask for promotions or approve them may comment on one.");
            }

            await act(registry, id, comment, by, ct);
            return Results.LocalRedirect($"/approvals?done={Uri.EscapeDataString($"{verb} {id}")}");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.PermissionDenied or ErrorCode.FailedPrecondition)
        {
            return await ShowAsync(registry, context, null, id, e.Message, comment, ct);
        }
    }

    private static async Task<IResult> ShowAsync(ModelRegistry registry, HttpContext context, string? done, string? faultOf, string? fault, string? comment, CancellationToken ct)
    {
        await registry.ExpireAsync(ct);
        var open = registry.ListOpenPromotions();
        var gates = new Dictionary<string, GateReport>(StringComparer.Ordinal);
        foreach (var promotion in open.Take(GatesMax))
        {
            try
            {
                gates[promotion.Id] = await registry.CheckAsync(promotion.Model, promotion.Version, promotion.Target, ct);
            }
            catch (SlipwayException e)
            {
                // Its report is damaged, or the policy no longer names its environment: one request's fault must not hide the others.
                gates[promotion.Id] = new GateReport(promotion.Model, promotion.Version, promotion.From, promotion.To, "", [new GateItem("gate", false, e.Message, [])]);
            }
        }

        return PageRoute.Of<ApprovalsPage>(new { Open = open, Gates = gates, Done = done, FaultOf = faultOf, Fault = fault, Comment = comment, MayApprove = Allows(context, Permission.Approve), MayOperate = Allows(context, Permission.Operate), MaySpeak = MaySpeak(context), MayWithdraw = Allows(context, Permission.Write) });
    }

    private static bool MaySpeak(HttpContext context) => Allows(context, Permission.Write) || Allows(context, Permission.Approve);

    private static bool Allows(HttpContext context, Permission permission) => CallerIdentity.Of(context.User)?.Access.May(permission) is true;
}
