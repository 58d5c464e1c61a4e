namespace Slipway.Contracts.Identity;

/// <summary>Body of <c>POST /api/slipway/v1/users</c>.</summary>
/// <param name="Name">1 to 64 of <c>a-z 0-9 . _ @ -</c>, beginning with a letter or digit.</param>
/// <param name="Role">viewer, service, engineer, approver or admin.</param>
public sealed record CreateUserRequest(string? Name, string? Role);

/// <summary>A new user; the only answer that ever holds the token.</summary>
/// <param name="Name">The user's name.</param>
/// <param name="Role">What the user may do.</param>
/// <param name="Token">Sent as <c>Authorization: Bearer …</c> or as the password of HTTP Basic.</param>
public sealed record CreatedUser(string Name, Role Role, string Token);

/// <summary>A user as listings show it.</summary>
/// <param name="Name">The user's name.</param>
/// <param name="Role">What the user may do.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="CreatedBy">By whom.</param>
public sealed record UserResponse(string Name, Role Role, DateTimeOffset CreatedAt, string CreatedBy);

/// <summary>Answer of <c>GET /api/slipway/v1/users</c>.</summary>
/// <param name="Users">By name.</param>
public sealed record UserList(IReadOnlyList<UserResponse> Users);

/// <summary>Answer of <c>GET /api/slipway/v1/whoami</c>.</summary>
/// <param name="Name">Whom the server takes the caller for.</param>
/// <param name="Role">What that user may do.</param>
/// <param name="Permissions">The role, spelt out.</param>
public sealed record WhoAmI(string Name, Role Role, IReadOnlyList<Permission> Permissions);
