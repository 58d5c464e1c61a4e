using Microsoft.AspNetCore.Http;
using Slipway.Contracts.Identity;

namespace Slipway.Storage;

/// <summary>Who asks for a change, as the audit trail names them. Binds itself as an endpoint's parameter.</summary>
/// <param name="Name">User name, or <c>system:part</c> for the server's own work.</param>
/// <param name="RequestId">The request's id; null for the server's own work.</param>
public sealed record Caller(string Name, string? RequestId)
{
    /// <summary>What it may do: of a request what its user may, and for the server's own work everything.</summary>
    public CallerAccess Access { get; init; } = CallerAccess.Everything;

    /// <summary>The server's own part, such as <c>system:monitoring</c>.</summary>
    public static Caller System(string part) => new($"system:{part}", null);

    /// <summary>Takes the authenticated user of the request.</summary>
    public static ValueTask<Caller?> BindAsync(HttpContext context) =>
        ValueTask.FromResult<Caller?>(CallerIdentity.Of(context.User) is { } identity
            ? new Caller(identity.Name!, context.TraceIdentifier) { Access = identity.Access }
            : new Caller("anonymous", context.TraceIdentifier) { Access = Nothing });

    private static readonly CallerAccess Nothing = new(Role.Viewer, []);
}
