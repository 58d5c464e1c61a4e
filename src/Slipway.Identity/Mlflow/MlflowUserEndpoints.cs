using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity.Grants;
using Slipway.Storage;

namespace Slipway.Identity.Mlflow;

/// <summary>
/// The users and permissions of MLflow's basic-auth app, as its clients call them. A user that MLflow calls an administrator is one here;
/// others become data scientists, who may do what an MLflow user may by default and more (<c>docs/reference/access.md</c> compares them).
/// </summary>
internal static class MlflowUserEndpoints
{
    public static void Map(IEndpointRouteBuilder app)
    {
        foreach (var prefix in (string[])["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"])
        {
            var group = app.MapGroup(prefix).WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow));
            var admin = group.MapGroup("").WithMetadata(new RequiredAccess(Permission.Admin));
            admin.MapPost("/users/create", CreateUser);
            admin.MapGet("/users/list", ListUsers);
            admin.MapPatch("/users/update-admin", UpdateAdmin);
            admin.MapDelete("/users/delete", DeleteUser);
            // Whose own they are, or who may manage the resource, is looked at inside.
            var own = group.MapGroup("").WithMetadata(new RequiredAccess(Permission.Read));
            own.MapGet("/users/get", GetUser);
            own.MapPatch("/users/update-password", UpdatePassword);
            foreach (var (path, kind) in new[] { ("/experiments/permissions", ResourceKind.Experiment), ("/registered-models/permissions", ResourceKind.Model) })
            {
                own.MapPost($"{path}/create", (HttpContext context, GrantStore grants, UserStore users, Caller by, CancellationToken ct) => PutAsync(context, kind, true, grants, users, by, ct));
                own.MapPatch($"{path}/update", (HttpContext context, GrantStore grants, UserStore users, Caller by, CancellationToken ct) => PutAsync(context, kind, false, grants, users, by, ct));
                own.MapGet($"{path}/get", (HttpContext context, GrantStore grants, UserStore users, Caller by, CancellationToken ct) => GetAsync(context, kind, grants, users, by, ct));
                own.MapDelete($"{path}/delete", (HttpContext context, GrantStore grants, UserStore users, Caller by, CancellationToken ct) => RemoveAsync(context, kind, grants, users, by, ct));
            }
        }
    }

    private static async Task<IResult> CreateUser(HttpContext context, UserStore users, GrantStore grants, Caller by, CancellationToken ct)
    {
        var request = await MlflowParameters.ReadAsync(context, ct);
        var user = await users.CreateWithPasswordAsync(request.Required("username"), Role.DataScientist, request.Required("password"), by, ct);
        return Answer(new { user = Message(user, grants) });
    }

    private static async Task<IResult> GetUser(HttpContext context, UserStore users, GrantStore grants, Caller by, CancellationToken ct)
    {
        var name = (await MlflowParameters.ReadAsync(context, ct)).Required("username");
        OwnAccount.Demand(by, name);
        return Answer(new { user = Message(Get(users, name), grants) });
    }

    private static IResult ListUsers(UserStore users, GrantStore grants) => Answer(new { users = users.List().Select(user => Message(user, grants)) });

    private static async Task<IResult> UpdatePassword(
        HttpContext context, UserStore users, Authenticator authenticator, ServerAddress server, Caller by, CancellationToken ct)
    {
        var request = await MlflowParameters.ReadAsync(context, ct);
        var name = request.Required("username");
        OwnAccount.Demand(by, name);
        // MLflow's clients send no current password, but come in with it.
        await OwnAccount.DemandPasswordAsync(
            by, name, request.Find("current_password") ?? Authenticator.BasicPassword(context.Request.Headers.Authorization), users, authenticator, server.Client(context), ct);
        await users.SetPasswordAsync(name, request.Required("password"), by, ct);
        return Answer(new { });
    }

    private static async Task<IResult> UpdateAdmin(HttpContext context, UserStore users, Caller by, CancellationToken ct)
    {
        var request = await MlflowParameters.ReadAsync(context, ct);
        var user = Get(users, request.Required("username"));
        var isAdministrator = request.Required("is_admin").ToUpperInvariant() switch
        {
            "TRUE" => true,
            "FALSE" => false,
            var other => throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value '{other}' for parameter 'is_admin' supplied: it must be true or false."),
        };
        if (isAdministrator != user.Role is Role.Administrator)
        {
            await users.ChangeAsync(user.Name, isAdministrator ? Role.Administrator : Role.DataScientist, null, by, ct);
        }

        return Answer(new { });
    }

    private static async Task<IResult> DeleteUser(HttpContext context, UserStore users, Caller by, CancellationToken ct)
    {
        await users.DeleteAsync((await MlflowParameters.ReadAsync(context, ct)).Required("username"), by, ct);
        return Answer(new { });
    }

    private static async Task<IResult> PutAsync(HttpContext context, ResourceKind kind, bool mustBeNew, GrantStore grants, UserStore users, Caller by, CancellationToken ct)
    {
        var request = await MlflowParameters.ReadAsync(context, ct);
        var (user, resource) = Subject(request, kind, users);
        var grant = await grants.PutAsync(user.Name, null, resource, GrantStore.ParseLevel(request.Required("permission")), by, ct, mustBeNew);
        return mustBeNew ? Answer(Wrapped(grant, user)) : Answer(new { });
    }

    private static async Task<IResult> GetAsync(HttpContext context, ResourceKind kind, GrantStore grants, UserStore users, Caller by, CancellationToken ct)
    {
        var (user, resource) = Subject(await MlflowParameters.ReadAsync(context, ct), kind, users);
        if (user.Name != by.Name && !by.Access.MayShare(resource))
        {
            throw new SlipwayException(ErrorCode.PermissionDenied, $"Who may use {resource} is shown to administrators and to those with MANAGE on it; you are neither.");
        }

        return Answer(Wrapped(grants.Find(user.Name, null, resource)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"'{user.Name}' has no permission of its own on {resource}; the role decides."), user));
    }

    private static async Task<IResult> RemoveAsync(HttpContext context, ResourceKind kind, GrantStore grants, UserStore users, Caller by, CancellationToken ct)
    {
        var (user, resource) = Subject(await MlflowParameters.ReadAsync(context, ct), kind, users);
        await grants.RemoveAsync(user.Name, null, resource, by, ct);
        return Answer(new { });
    }

    private static (User User, Resource Resource) Subject(MlflowParameters request, ResourceKind kind, UserStore users) =>
        (Get(users, request.Required("username")), new Resource(kind, request.Required(kind is ResourceKind.Experiment ? "experiment_id" : "name")));

    private static User Get(UserStore users, string name) => users.FindAny(name) ?? throw UserStore.NoUser(name);

    private static object Wrapped(Grant grant, User user) =>
        grant.Kind is ResourceKind.Experiment ? new { experiment_permission = Message(grant, user) } : (object)new { registered_model_permission = Message(grant, user) };

    private static object Message(User user, GrantStore grants)
    {
        var its = grants.List(user: user.Name).Where(grant => grant.Environment is null).ToList();
        return new
        {
            id = user.Id,
            username = user.Name,
            is_admin = user.Role is Role.Administrator,
            experiment_permissions = its.Where(grant => grant.Kind is ResourceKind.Experiment).Select(grant => Message(grant, user)),
            registered_model_permissions = its.Where(grant => grant.Kind is ResourceKind.Model).Select(grant => Message(grant, user)),
            scorer_permissions = Array.Empty<object>(),
        };
    }

    private static object Message(Grant grant, User user) => grant.Kind is ResourceKind.Experiment
        ? new { experiment_id = grant.Name, user_id = user.Id, permission = GrantStore.LevelName(grant.Level) }
        : (object)new { name = grant.Name, user_id = user.Id, permission = GrantStore.LevelName(grant.Level) };

    private static IResult Answer(object value) => Results.Json(value, JsonDefaults.Options);
}

/// <summary>The parameters of a request as MLflow's auth app reads them: a JSON body where there is one, else the query.</summary>
internal sealed class MlflowParameters
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    public static async Task<MlflowParameters> ReadAsync(HttpContext context, CancellationToken cancellationToken)
    {
        var request = context.Request;
        var parameters = new MlflowParameters();
        foreach (var (name, values) in request.Query)
        {
            parameters._values[name] = values.ToString();
        }

        if (HttpMethods.IsGet(request.Method) || (HttpMethods.IsDelete(request.Method) && request.ContentLength is null or 0))
        {
            return parameters;
        }

        if (!request.HasJsonContentType())
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Bad Request. Content-Type must be application/json, not '{request.ContentType}'.");
        }

        using var body = await JsonDocument.ParseAsync(request.Body, default, cancellationToken);
        if (body.RootElement.ValueKind is not JsonValueKind.Object)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The request body is not a JSON object.");
        }

        try
        {
            foreach (var property in body.RootElement.EnumerateObject())
            {
                parameters._values[property.Name] = property.Value.ValueKind is JsonValueKind.String ? property.Value.GetString()! : property.Value.GetRawText();
            }
        }
        catch (InvalidOperationException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The request body holds half a surrogate pair, which is no text.", e);
        }

        return parameters;
    }

    /// <summary>A parameter that need not be there.</summary>
    public string? Find(string name) => _values.GetValueOrDefault(name);

    public string Required(string name) =>
        !_values.TryGetValue(name, out var value) || value.Length == 0 || value == "null" ? throw new SlipwayException(ErrorCode.InvalidArgument, $"Missing value for required parameter '{name}'.")
        : value.Contains('\0', StringComparison.Ordinal) ? throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter '{name}' supplied: it may not hold NUL.")
        : value;
}
