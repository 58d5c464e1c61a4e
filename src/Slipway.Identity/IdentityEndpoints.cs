using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity.Grants;
using Slipway.Identity.Keys;
using Slipway.Identity.Mlflow;
using Slipway.Identity.Sessions;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>Maps users, keys, grants and the caller's own record.</summary>
public static class IdentityEndpoints
{
    /// <summary>Maps <c>/users</c>, <c>/keys</c>, <c>/grants</c> and <c>/whoami</c>, and MLflow's users and permissions.</summary>
    public static void MapSlipwayIdentity(this IEndpointRouteBuilder app)
    {
        var admin = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Admin));
        admin.MapPost("/users", Create).WithSummary("Make a user; without a password, the answer shows its token once");
        admin.MapPatch("/users/{name}", Change).WithSummary("Give a user another role or other groups, shut it out or let it in");
        admin.MapDelete("/users/{name}", Delete).WithSummary("Take all access of a user away for good");
        admin.MapPost("/users/{name}/link", MakeLink).WithSummary("Make a link that lets a user in once, to choose a password");

        // Whose own they are, or who may manage the resource, is looked at inside.
        var own = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Read));
        own.MapGet("/users", List).WithSummary("List users");
        own.MapGet("/users/{name}", Get).WithSummary("Show a user");
        own.MapPut("/users/{name}/password", SetPassword).WithSummary("Change a password: one's own, or as an administrator anyone's");
        own.MapDelete("/users/{name}/sessions", EndSessions).WithSummary("Sign a user's browsers out: one's own, or as an administrator anyone's");
        own.MapPost("/users/{name}/keys", CreateKey).WithSummary("Make an API key; the answer shows it once");
        own.MapGet("/keys", ListKeys).WithSummary("List API keys: one's own, or as an administrator or auditor all");
        own.MapDelete("/keys/{id}", RevokeKey).WithSummary("Withdraw an API key");
        own.MapGet("/grants", ListGrants).WithSummary("List grants: those that concern the caller, or as an administrator or auditor all");
        own.MapPost("/grants", Give).WithSummary("Say what a user or group may do with a model or experiment");
        own.MapDelete("/grants/{id:long}", TakeBack).WithSummary("Take a grant back");
        own.MapGet("/whoami", WhoIs).WithSummary("Show whom the server takes the caller for");
        MlflowUserEndpoints.Map(app);
    }

    private static async Task<Created<CreatedUser>> Create(CreateUserRequest request, UserStore users, Caller by, HttpContext context, CancellationToken ct)
    {
        var name = request.Name ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'name' is missing; give the user's name.");
        var role = Roles.Parse(request.Role);
        var (user, token) = request.Password is null
            ? await users.CreateAsync(name, role, by, ct, request.Groups)
            : (await users.CreateWithPasswordAsync(name, role, request.Password, by, ct, request.Groups), null);
        KeepNowhere(context);
        return TypedResults.Created($"/api/slipway/v1/users/{user.Name}", new CreatedUser(user.Name, user.Role, user.Groups, token));
    }

    private static async Task<Ok<UserResponse>> Change(string name, ChangeUserRequest request, UserStore users, Caller by, CancellationToken ct)
    {
        if (request is { Role: null, Groups: null, Active: null })
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The body changes nothing; give 'role', 'groups', 'active' or several.");
        }

        Role? role = request.Role is null ? null : Roles.Parse(request.Role);
        var user = role is null && request.Groups is null ? null : await users.ChangeAsync(name, role, request.Groups, by, ct);
        return TypedResults.Ok(Show(request.Active is { } active ? await users.SetStateAsync(name, active, by, ct) : user!));
    }

    private static async Task<NoContent> Delete(string name, UserStore users, Caller by, CancellationToken ct)
    {
        await users.DeleteAsync(name, by, ct);
        return TypedResults.NoContent();
    }

    private static async Task<Ok<SignInLink>> MakeLink(string name, SignInLinkStore links, ServerAddress server, Caller by, HttpContext context, TimeProvider clock, CancellationToken ct)
    {
        var code = await links.CreateAsync(name, by, ct);
        KeepNowhere(context);
        return TypedResults.Ok(new SignInLink(SignInLinkStore.Address(server.Base(context.Request), code), clock.GetUtcNow() + SignInLinkStore.Life));
    }

    private static Ok<UserList> List(UserStore users) => TypedResults.Ok(new UserList([.. users.List().Select(Show)]));

    private static Ok<UserResponse> Get(string name, UserStore users) => TypedResults.Ok(Show(users.FindAny(name) ?? throw UserStore.NoUser(name)));

    private static async Task<NoContent> SetPassword(
        string name, ChangePasswordRequest request, UserStore users, Authenticator authenticator, ServerAddress server, Caller by, HttpContext context, CancellationToken ct)
    {
        OwnAccount.Demand(by, name);
        var password = request.Password ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'password' is missing; give the new password.");
        await OwnAccount.DemandPasswordAsync(by, name, request.CurrentPassword, users, authenticator, server.Client(context), ct);
        await users.SetPasswordAsync(name, password, by, ct);
        return TypedResults.NoContent();
    }

    private static async Task<NoContent> EndSessions(string name, SessionStore sessions, Caller by, CancellationToken ct)
    {
        OwnAccount.Demand(by, name);
        await sessions.EndAllAsync(name, by, ct);
        return TypedResults.NoContent();
    }

    private static async Task<Created<KeyResponse>> CreateKey(string name, CreateKeyRequest request, KeyStore keys, Caller by, HttpContext context, CancellationToken ct)
    {
        OwnAccount.Demand(by, name);
        var keyName = request.Name ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'name' is missing; say what the key is for.");
        var (key, secret) = await keys.CreateAsync(
            name, keyName, new KeyLimits(request.Permissions, request.Models, request.Experiments, request.Environments), Life(request.ExpiresIn), by, ct);
        KeepNowhere(context);
        return TypedResults.Created($"/api/slipway/v1/keys/{key.Id}", Show(key) with { Token = secret });
    }

    private static Ok<KeyList> ListKeys(KeyStore keys, Caller by, string? user = null)
    {
        if (user != by.Name && !SeesAll(by))
        {
            user = user is null ? by.Name : throw new SlipwayException(ErrorCode.PermissionDenied, $"The keys of '{user}' are shown to that user, administrators and auditors.");
        }

        return TypedResults.Ok(new KeyList([.. keys.List(user).Select(Show)]));
    }

    private static async Task<NoContent> RevokeKey(string id, KeyStore keys, Caller by, CancellationToken ct)
    {
        var key = keys.Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no key '{id}'.");
        OwnAccount.Demand(by, key.User);
        await keys.RevokeAsync(id, by, ct);
        return TypedResults.NoContent();
    }

    private static Ok<GrantList> ListGrants(GrantStore grants, Caller by, string? user = null, string? group = null, string? model = null, string? experiment = null)
    {
        var listed = grants.List(user, group, model is not null ? ResourceKind.Model : experiment is not null ? ResourceKind.Experiment : null, model ?? experiment)
            .Where(grant => SeesAll(by) || grant.User == by.Name || (grant.Group is { } its && by.Access.Groups.Contains(its)) || by.Access.MayShare(new Resource(grant.Kind, grant.Name, grant.Environment)));
        return TypedResults.Ok(new GrantList([.. listed.Select(Show)]));
    }

    private static async Task<Ok<GrantResponse>> Give(GrantRequest request, GrantStore grants, Caller by, CancellationToken ct) => TypedResults.Ok(Show(await grants.PutAsync(
        request.User, request.Group, ResourceOf(request), GrantStore.ParseLevel(request.Permission), by, ct)));

    private static async Task<NoContent> TakeBack(long id, GrantStore grants, Caller by, CancellationToken ct)
    {
        await grants.RemoveAsync(id, by, ct);
        return TypedResults.NoContent();
    }

    private static Ok<WhoAmI> WhoIs(Caller caller) => TypedResults.Ok(new WhoAmI(
        caller.Name, caller.Access.Role, caller.Access.Groups, caller.Access.Permissions, caller.Access.Limits == KeyLimits.None ? null : caller.Access.Limits));

    private static Resource ResourceOf(GrantRequest request) => (request.Model, request.Experiment) switch
    {
        ({ } model, null) => Resource.Model(model, request.Environment),
        (null, { } experiment) => new Resource(ResourceKind.Experiment, experiment, request.Environment),
        _ => throw new SlipwayException(ErrorCode.InvalidArgument, "Give either 'model' or 'experiment'; * stands for all."),
    };

    private static bool SeesAll(Caller by) => by.Access.May(Permission.Admin) || by.Access is { Role: Role.Auditor, IsLimited: false };

    private static TimeSpan? Life(string? text)
    {
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        return int.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 0 and < 100_000
            ? text[^1] switch { 'd' => TimeSpan.FromDays(number), 'h' => TimeSpan.FromHours(number), 'm' => TimeSpan.FromMinutes(number), _ => throw WrongLife(text) }
            : throw WrongLife(text);
    }

    private static SlipwayException WrongLife(string text) => new(ErrorCode.InvalidArgument, $"'expires_in' must be a number of days, hours or minutes such as 90d, 12h or 30m, not '{text}'.");

    private static UserResponse Show(User user) => new(
        user.Name, user.Role, user.Groups, user.State, user.HasPassword, user.ProviderSubject is not null, At(user.CreatedAtMs), user.CreatedBy);

    private static KeyResponse Show(ApiKey key) => new(
        key.Id, key.User, key.Name, key.Limits, At(key.CreatedAtMs), key.CreatedBy, AtOrNull(key.ExpiresAtMs), AtOrNull(key.LastUsedAtMs), AtOrNull(key.RevokedAtMs));

    private static GrantResponse Show(Grant grant) => new(
        grant.Id, grant.User, grant.Group, grant.Kind is ResourceKind.Model ? grant.Name : null, grant.Kind is ResourceKind.Experiment ? grant.Name : null, grant.Environment,
        GrantStore.LevelName(grant.Level), At(grant.CreatedAtMs), grant.CreatedBy);

    private static DateTimeOffset At(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private static DateTimeOffset? AtOrNull(long? ms) => ms is { } known ? At(known) : null;

    private static void KeepNowhere(HttpContext context) => context.Response.Headers.CacheControl = "no-store";
}

/// <summary>The rule of what a user may do with an account: with one's own, or as an administrator with any.</summary>
internal static class OwnAccount
{
    /// <exception cref="SlipwayException">PermissionDenied.</exception>
    public static void Demand(Caller by, string user)
    {
        var itself = by.Name == user && by.Access is { IsLimited: false, Limits.Permissions: null };
        if (!itself && !by.Access.May(Permission.Admin))
        {
            throw new SlipwayException(ErrorCode.PermissionDenied, by.Name == user
                ? "A limited key may not do this for its user; sign in as the user instead."
                : $"This is for '{user[..Math.Min(user.Length, 80)]}' and for administrators; you are neither.");
        }
    }

    /// <summary>Whoever finds a browser signed in, or a key, shall not be able to keep the account: a password is changed by those who know it, and by administrators.</summary>
    /// <exception cref="SlipwayException">PermissionDenied: it is not the user's; ResourceExhausted: too many wrong ones lately.</exception>
    public static async Task DemandPasswordAsync(Caller by, string user, string? current, UserStore users, Authenticator authenticator, IPAddress? address, CancellationToken cancellationToken)
    {
        if (by.Access.May(Permission.Admin) || users.FindAny(user) is not { HasPassword: true })
        {
            return;
        }

        var answer = await authenticator.ByPasswordAsync(user, current ?? "", address, cancellationToken);
        if (answer.Wait is not null)
        {
            throw new SlipwayException(ErrorCode.ResourceExhausted, answer.Fault!);
        }

        if (answer.Principal is null)
        {
            throw new SlipwayException(ErrorCode.PermissionDenied, "'current_password' is not right; an administrator can set a new password without it.");
        }
    }
}
