using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Registry.Mlflow;
using Slipway.Storage;
using Slipway.Tracking;
using Slipway.Tracking.Mlflow;
using Slipway.Tracking.Search;
using static Slipway.Tracking.Mlflow.MlflowHttp;

namespace Slipway.Registry.Webhooks;

internal sealed record MlflowWebhookEvent(
    [property: JsonConverter(typeof(NumberAsTextConverter))] string? Entity, [property: JsonConverter(typeof(NumberAsTextConverter))] string? Action);

/// <summary>A webhook as MLflow's clients read it; its secret is never among it.</summary>
internal sealed record MlflowWebhook(
    string WebhookId, string Name, string? Description, string Url, IReadOnlyList<MlflowWebhookEvent> Events, string Status, long CreationTimestamp, long LastUpdatedTimestamp);

internal sealed record WebhookResponse(MlflowWebhook Webhook);

internal sealed record WebhooksResponse(IReadOnlyList<MlflowWebhook>? Webhooks, string? NextPageToken);

internal sealed record WebhookTestResponse(WebhookTestResult Result);

internal sealed record WebhookTestResult(bool Success, int? ResponseStatus, string? ResponseBody, string? ErrorMessage);

internal sealed record WebhookRequest(
    string? Name, string? Description, string? Url, IReadOnlyList<MlflowWebhookEvent>? Events, string? Secret, [property: JsonConverter(typeof(NumberAsTextConverter))] string? Status);

internal sealed record WebhookTestRequest(MlflowWebhookEvent? Event);

/// <summary>MLflow's routes of webhooks.</summary>
internal static class WebhookEndpoints
{
    // Numbers of the enums in MLflow's proto file, which a client may send in place of their names.
    private static readonly string[] Entities =
        ["", "REGISTERED_MODEL", "MODEL_VERSION", "MODEL_VERSION_TAG", "MODEL_VERSION_ALIAS", "PROMPT", "PROMPT_VERSION", "PROMPT_TAG", "PROMPT_VERSION_TAG", "PROMPT_ALIAS"];

    private static readonly string[] Actions = ["", "CREATED", "UPDATED", "DELETED", "SET"];

    private static readonly string[] Statuses = ["", WebhookStore.Active, WebhookStore.Disabled];

    public static void MapWebhooks(this IEndpointRouteBuilder app)
    {
        foreach (var group in Groups(app, "/2.0/mlflow"))
        {
            group.MapPost("/webhooks", Create).May(Permission.Write);
            group.MapGet("/webhooks", List).May(Permission.Read);
            group.MapGet("/webhooks/{webhook_id}", Get).May(Permission.Read);
            group.MapPatch("/webhooks/{webhook_id}", Update).May(Permission.Write);
            group.MapDelete("/webhooks/{webhook_id}", Delete).May(Permission.Write);
            group.MapPost("/webhooks/{webhook_id}/test", Test).May(Permission.Write);
        }
    }

    private static async Task<IResult> Create(HttpContext context, WebhookStore store, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<WebhookRequest>(context, cancellationToken);
        var change = new WebhookChange(
            Required(request.Name, "name"), request.Description, Required(request.Url, "url"), ParseEvents(request.Events ?? []), request.Secret, ParseStatus(request.Status));
        return Answer(await store.CreateAsync(change, by, cancellationToken));
    }

    private static IResult List(HttpContext context, WebhookStore store)
    {
        var max = RegisteredModelEndpoints.PageSize(context, 100, 1000);
        var after = Query(context, "page_token") is { Length: > 0 } token ? PageToken.Decode(token, "webhooks", 1)[0] as string ?? "" : "";
        var webhooks = store.List(after, max + 1);
        var page = webhooks.Take(max).ToList();
        return MlflowHttp.Answer(new WebhooksResponse(
            OrNull(page.Select(Message)), webhooks.Count > max ? PageToken.Encode("webhooks", [page[^1].Id]) : null));
    }

    private static IResult Get(HttpContext context, WebhookStore store) => Answer(store.Get(Route(context, "webhook_id")));

    private static async Task<IResult> Update(HttpContext context, WebhookStore store, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<WebhookRequest>(context, cancellationToken);
        var change = new WebhookChange(
            request.Name, request.Description, request.Url, request.Events is { Count: > 0 } events ? ParseEvents(events) : null, request.Secret, ParseStatus(request.Status));
        return Answer(await store.UpdateAsync(Route(context, "webhook_id"), change, by, cancellationToken));
    }

    private static async Task<IResult> Delete(HttpContext context, WebhookStore store, Caller by, CancellationToken cancellationToken)
    {
        await store.DeleteAsync(Route(context, "webhook_id"), by, cancellationToken);
        return Nothing();
    }

    private static async Task<IResult> Test(HttpContext context, WebhookStore store, CancellationToken cancellationToken)
    {
        var request = RegisteredModelEndpoints.HasBody(context) ? await ReadAsync<WebhookTestRequest>(context, cancellationToken) : new WebhookTestRequest(null);
        var answer = await store.TestAsync(Route(context, "webhook_id"), request.Event is null ? null : Parse(request.Event, 0), cancellationToken);
        return MlflowHttp.Answer(new WebhookTestResponse(new WebhookTestResult(
            answer.IsSuccess, answer.Status, answer.Body, answer.Error is null ? null : $"Failed to test webhook: {answer.Error}")));
    }

    private static List<WebhookEvent> ParseEvents(IReadOnlyList<MlflowWebhookEvent> events) => [.. events.Select(Parse).Distinct()];

    private static WebhookEvent Parse(MlflowWebhookEvent? given, int index)
    {
        var entity = Name(Entities, given?.Entity, $"events[{index}].entity");
        var action = Name(Actions, given?.Action, $"events[{index}].action");
        var parsed = new WebhookEvent(entity.ToLowerInvariant(), action.ToLowerInvariant());
        return WebhookEvent.Known.ContainsKey(parsed)
            ? parsed
            : throw RunLimits.Invalid($"Invalid action '{parsed.Action}' for entity '{parsed.Entity}'. Valid actions are: {string.Join(", ", WebhookEvent.Known.Keys.Where(known => known.Entity == parsed.Entity).Select(known => known.Action))}");
    }

    private static string? ParseStatus(string? text) => string.IsNullOrEmpty(text) ? null : Name(Statuses, text, "status");

    private static string Name(string[] names, string? given, string field) =>
        int.TryParse(Required(given, field), System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var number) && number > 0 && number < names.Length ? names[number]
        : names.Skip(1).FirstOrDefault(name => name.Equals(given, StringComparison.OrdinalIgnoreCase))
            ?? throw RunLimits.Invalid($"Invalid value '{given}' for parameter '{field}' supplied: it must be one of {string.Join(", ", names.Skip(1))}.");

    private static IResult Answer(Webhook webhook) => MlflowHttp.Answer(new WebhookResponse(Message(webhook)));

    private static MlflowWebhook Message(Webhook webhook) => new(
        webhook.Id, webhook.Name, webhook.Description, webhook.Url,
        [.. webhook.Events.Select(known => new MlflowWebhookEvent(known.Entity.ToUpperInvariant(), known.Action.ToUpperInvariant()))],
        webhook.Status, webhook.CreatedAtMs, webhook.UpdatedAtMs);
}
