using System.Security.Claims;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>Maps users and the caller's own record.</summary>
public static class IdentityEndpoints
{
    /// <summary>Maps <c>/users</c> and <c>/whoami</c>.</summary>
    public static void MapSlipwayIdentity(this IEndpointRouteBuilder app)
    {
        var native = app.MapGroup("/api/slipway/v1");
        native.MapPost("/users", Create).WithMetadata(new RequiredAccess(Permission.Admin)).WithSummary("Make a user; the answer shows its token once");
        native.MapGet("/users", List).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("List users");
        native.MapGet("/whoami", WhoIs).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Show whom the server takes the caller for");
    }

    private static async Task<Created<CreatedUser>> Create(CreateUserRequest request, UserStore users, Caller by, HttpContext context, CancellationToken cancellationToken)
    {
        var name = request.Name ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'name' is missing; give the user's name.");
        var (user, token) = await users.CreateAsync(name, Roles.Parse(request.Role), by, cancellationToken);
        context.Response.Headers.CacheControl = "no-store";
        return TypedResults.Created($"/api/slipway/v1/users/{user.Name}", new CreatedUser(user.Name, user.Role, token));
    }

    private static Ok<UserList> List(UserStore users) =>
        TypedResults.Ok(new UserList([.. users.List().Select(user => new UserResponse(user.Name, user.Role, DateTimeOffset.FromUnixTimeMilliseconds(user.CreatedAtMs), user.CreatedBy))]));

    private static Ok<WhoAmI> WhoIs(ClaimsPrincipal principal, Caller caller)
    {
        var role = Roles.RoleOf(principal) ?? throw new SlipwayException(ErrorCode.Unauthenticated, "Send a token: 'Authorization: Bearer slw_…'.");
        return TypedResults.Ok(new WhoAmI(caller.Name, role, Roles.Of(role)));
    }
}
