using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Registry.Webhooks;

/// <summary>A receiver of events; its secret never leaves the store but to sign.</summary>
internal sealed record Webhook(
    string Id, string Name, string? Description, string Url, IReadOnlyList<WebhookEvent> Events, string Status, bool HasSecret, long CreatedAtMs, long UpdatedAtMs);

/// <summary>What to change of a webhook; null leaves it.</summary>
internal sealed record WebhookChange(string? Name, string? Description, string? Url, IReadOnlyList<WebhookEvent>? Events, string? Secret, string? Status);

/// <summary>One event on its way to one receiver.</summary>
internal sealed record WebhookDelivery(string Id, string WebhookId, string Url, string Body, long Attempts);

/// <summary>Owns webhooks and their deliveries.</summary>
internal sealed class WebhookStore(Database database, WebhookSender sender, SecretBox secrets, TimeProvider clock)
{
    public const string Active = "ACTIVE";
    public const string Disabled = "DISABLED";

    private const int NameLengthMax = 256;
    private const int SecretLengthMax = 1000;
    private const int WebhooksMax = 1000;

    // What has arrived is kept a day, so that somebody who misses an event can see whether it was sent.
    private static readonly TimeSpan KeptFor = TimeSpan.FromDays(1);

    /// <summary>A webhook.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public Webhook Get(string id) => database.Read(connection => Find(connection, id)) ?? throw NoWebhook(id);

    /// <summary>Webhooks by id after one of them.</summary>
    public IReadOnlyList<Webhook> List(string after, int max) => database.Read(connection => Query(connection, "WHERE id > @after ORDER BY id LIMIT @max", new { after, max }));

    public async Task<Webhook> CreateAsync(WebhookChange webhook, Caller by, CancellationToken cancellationToken)
    {
        Check(webhook);
        var id = Guid.NewGuid().ToString();
        await database.WriteAsync(transaction =>
        {
            if (transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM webhooks") >= WebhooksMax)
            {
                throw new SlipwayException(ErrorCode.ResourceExhausted, $"There are {WebhooksMax} webhooks already; delete one that is no longer needed.");
            }

            transaction.Connection.Execute(
                """
                INSERT INTO webhooks (id, name, description, url, events, sealed_secret, status, created_by, created_at_ms, updated_at_ms)
                VALUES (@id, @Name, @Description, @Url, @events, @secret, @status, @by, @now, @now)
                """,
                new
                {
                    id,
                    webhook.Name,
                    webhook.Description,
                    webhook.Url,
                    events = Json(webhook.Events!),
                    secret = Seal(id, webhook.Secret),
                    status = webhook.Status ?? Active,
                    by = by.Name,
                    now = transaction.NowMs,
                });
            transaction.Audit(by, "webhook.created", Node(id), null, null, Shown(Find(transaction.Connection, id)!));
        }, cancellationToken);
        return Get(id);
    }

    public async Task<Webhook> UpdateAsync(string id, WebhookChange change, Caller by, CancellationToken cancellationToken)
    {
        Check(change with { Name = change.Name ?? "unchanged", Events = change.Events ?? [.. WebhookEvent.Known.Keys.Take(1)] }, urlIsNeeded: false);
        await database.WriteAsync(transaction =>
        {
            var before = Find(transaction.Connection, id) ?? throw NoWebhook(id);
            transaction.Connection.Execute(
                """
                UPDATE webhooks SET name = coalesce(@Name, name), description = coalesce(@Description, description), url = coalesce(@Url, url),
                       events = coalesce(@events, events), sealed_secret = CASE WHEN @changesSecret = 1 THEN @secret ELSE sealed_secret END,
                       secret = CASE WHEN @changesSecret = 1 THEN NULL ELSE secret END, status = coalesce(@Status, status), updated_at_ms = @now
                 WHERE id = @id
                """,
                new
                {
                    id,
                    change.Name,
                    change.Description,
                    change.Url,
                    events = change.Events is null ? null : Json(change.Events),
                    changesSecret = change.Secret is null ? 0 : 1,
                    secret = Seal(id, change.Secret),
                    change.Status,
                    now = transaction.NowMs,
                });
            transaction.Audit(by, "webhook.updated", Node(id), null, Shown(before), Shown(Find(transaction.Connection, id)!));
        }, cancellationToken);
        return Get(id);
    }

    public Task DeleteAsync(string id, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        var webhook = Find(transaction.Connection, id) ?? throw NoWebhook(id);
        transaction.Connection.Execute("DELETE FROM webhook_deliveries WHERE webhook_id = @id", new { id });
        transaction.Connection.Execute("DELETE FROM webhooks WHERE id = @id", new { id });
        transaction.Audit(by, "webhook.deleted", Node(id), null, Shown(webhook));
    }, cancellationToken);

    /// <summary>Sends an example of an event at once.</summary>
    public async Task<WebhookAnswer> TestAsync(string id, WebhookEvent? wanted, CancellationToken cancellationToken)
    {
        var webhook = Get(id);
        var chosen = wanted ?? webhook.Events[0];
        var body = JsonSerializer.Serialize(
            new Dictionary<string, object> { ["entity"] = chosen.Entity, ["action"] = chosen.Action, ["timestamp"] = clock.GetUtcNow(), ["data"] = WebhookEvent.Known[chosen] }, JsonDefaults.Options);
        return await sender.SendAsync(webhook.Url, FindSecret(id), Guid.NewGuid().ToString(), body, cancellationToken);
    }

    /// <summary>What the webhook's deliveries are signed with; null for nothing.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: it cannot be decrypted.</exception>
    public string? FindSecret(string id)
    {
        var (box, old) = database.Read(connection => connection.QueryFirstOrDefault<(string? Box, string? Old)>("SELECT sealed_secret, secret FROM webhooks WHERE id = @id", new { id }));
        return box is null ? old : secrets.Open(box, Node(id).ToString());
    }

    /// <summary>Encrypts the secrets that an earlier build kept as they were.</summary>
    public async Task SealOldAsync(CancellationToken cancellationToken)
    {
        const string Old = "SELECT id, secret FROM webhooks WHERE secret IS NOT NULL";
        if (database.Read(connection => connection.QueryFirstOrDefault<string>(Old)) is null)
        {
            return;
        }

        await database.WriteAsync(transaction =>
        {
            foreach (var (id, secret) in transaction.Connection.Query<(string, string)>(Old).AsList())
            {
                transaction.Connection.Execute("UPDATE webhooks SET sealed_secret = @box, secret = NULL WHERE id = @id", new { id, box = Seal(id, secret) });
                transaction.Audit(Caller.System("webhooks"), "webhook.secret_encrypted", Node(id), "an earlier build kept it as it was", null);
            }
        }, cancellationToken);
    }

    /// <summary>Turns an event into a delivery for each webhook that asks for it, in the transaction that moves the reader on.</summary>
    public static void Enqueue(WriteTransaction transaction, string body)
    {
        using var json = JsonDocument.Parse(body);
        var wanted = $"{json.RootElement.GetProperty("entity").GetString()}.{json.RootElement.GetProperty("action").GetString()}";
        foreach (var webhook in Query(transaction.Connection, "WHERE status = 'ACTIVE'", new { }).Where(webhook => webhook.Events.Any(known => known.ToString() == wanted)))
        {
            transaction.Connection.Execute(
                "INSERT INTO webhook_deliveries (id, webhook_id, body, state, attempts, due_at_ms, made_at_ms) VALUES (@id, @webhookId, @body, 'waiting', 0, @now, @now)",
                new { id = Guid.NewGuid().ToString(), webhookId = webhook.Id, body, now = transaction.NowMs });
        }
    }

    /// <summary>Deliveries that are due, the longest due first.</summary>
    public IReadOnlyList<WebhookDelivery> Due(long nowMs, int max) => database.Read(connection => connection.Query<WebhookDelivery>(
        """
        SELECT d.id AS Id, d.webhook_id AS WebhookId, w.url AS Url, d.body AS Body, d.attempts AS Attempts
          FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
         WHERE d.state = 'waiting' AND d.due_at_ms <= @nowMs AND w.status = 'ACTIVE' ORDER BY d.due_at_ms, d.id LIMIT @max
        """,
        new { nowMs, max }).AsList());

    /// <summary>When the next delivery is due; null when none waits.</summary>
    public long? NextDueMs() => database.Read(connection => connection.ExecuteScalar<long?>(
        "SELECT min(d.due_at_ms) FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.state = 'waiting' AND w.status = 'ACTIVE'"));

    /// <summary>Notes what came of an attempt.</summary>
    /// <param name="lease">Held by the one sender; lost, nothing is noted.</param>
    /// <param name="delivery">Which.</param>
    /// <param name="answer">What came of it.</param>
    /// <param name="retryAfter">When to try again; null for never.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    public Task NoteAsync(Lease lease, WebhookDelivery delivery, WebhookAnswer answer, TimeSpan? retryAfter, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        Leases.Demand(transaction, lease);
        transaction.Connection.Execute(
            "UPDATE webhook_deliveries SET state = @state, attempts = @attempts, due_at_ms = @due, last_answer = @said WHERE id = @Id",
            new
            {
                delivery.Id,
                state = answer.IsSuccess ? "delivered" : retryAfter is null ? "failed" : "waiting",
                attempts = delivery.Attempts + 1,
                due = transaction.NowMs + (long)(retryAfter?.TotalMilliseconds ?? 0),
                said = answer.Error ?? answer.Status!.Value.ToString(CultureInfo.InvariantCulture),
            });
        transaction.Connection.Execute(
            "DELETE FROM webhook_deliveries WHERE state IN ('delivered', 'failed') AND due_at_ms < @before", new { before = transaction.NowMs - (long)KeptFor.TotalMilliseconds });
    }, cancellationToken);

    private void Check(WebhookChange webhook, bool urlIsNeeded = true)
    {
        if (string.IsNullOrWhiteSpace(webhook.Name) || webhook.Name.Length > NameLengthMax)
        {
            throw Invalid($"'name' supplied: a webhook's name has 1 to {NameLengthMax} characters");
        }

        if (webhook.Description?.Length > 5000)
        {
            throw Invalid("'description' supplied: it may have at most 5000 characters");
        }

        if (webhook.Events is not { Count: > 0 })
        {
            throw Invalid("'events' supplied: a webhook needs at least one");
        }

        if (webhook.Secret?.Length > SecretLengthMax)
        {
            throw Invalid($"'secret' supplied: it may have at most {SecretLengthMax} characters");
        }

        if (urlIsNeeded || webhook.Url is not null)
        {
            sender.Check(webhook.Url ?? "");
        }
    }

    private static Webhook? Find(DbConnection connection, string id) => Query(connection, "WHERE id = @id", new { id }).SingleOrDefault();

    private static List<Webhook> Query(DbConnection connection, string where, object parameters) => connection
        .Query<(string Id, string Name, string? Description, string Url, string Events, string Status, long HasSecret, long CreatedAtMs, long UpdatedAtMs)>(
            $"""
            SELECT id, name, description, url, events, status, CAST(CASE WHEN coalesce(sealed_secret, secret) IS NULL THEN 0 ELSE 1 END AS BIGINT), created_at_ms, updated_at_ms FROM webhooks {where}
            """,
            parameters)
        .Select(row => new Webhook(row.Id, row.Name, row.Description, row.Url, JsonSerializer.Deserialize<List<WebhookEvent>>(row.Events, JsonDefaults.Options)!, row.Status,
            row.HasSecret != 0, row.CreatedAtMs, row.UpdatedAtMs)).ToList();

    // An address may carry a key in its query.
    private static object Shown(Webhook webhook) => new
    {
        webhook.Name,
        url = webhook.Url.Split('?')[0],
        events = webhook.Events.Select(known => known.ToString()),
        webhook.Status,
        webhook.HasSecret,
    };

    // An empty one takes the secret away.
    private string? Seal(string id, string? secret) => string.IsNullOrEmpty(secret) ? null : secrets.Seal(secret, Node(id).ToString());

    private static string Json(IReadOnlyList<WebhookEvent> events) => JsonSerializer.Serialize(events, JsonDefaults.Options);

    private static NodeRef Node(string id) => new("webhook", id);

    private static SlipwayException Invalid(string what) => new(ErrorCode.InvalidArgument, $"Invalid value for parameter {what}.");

    private static SlipwayException NoWebhook(string id) => new(ErrorCode.NotFound, $"Webhook with ID {id} not found.");
}
