namespace Slipway.Contracts.Identity;

/// <summary>Body of <c>POST /api/slipway/v1/users</c>.</summary>
/// <param name="Name">1 to 64 of <c>a-z 0-9 . _ @ -</c>, beginning with a letter or digit.</param>
/// <param name="Role">viewer, service, data_scientist, ml_engineer, approver, auditor or administrator.</param>
/// <param name="Groups">On whose behalf the user may approve a policy's named step, such as <c>ethics</c>; null for none.</param>
/// <param name="Password">The password to come in with; null makes an API key instead.</param>
public sealed record CreateUserRequest(string? Name, string? Role, IReadOnlyList<string?>? Groups = null, string? Password = null);

/// <summary>Body of <c>PATCH /api/slipway/v1/users/{name}</c>: what is null stays as it is.</summary>
/// <param name="Role">The new role.</param>
/// <param name="Groups">All groups from now on.</param>
/// <param name="Active">False shuts the user out and ends its sessions; true lets it in again.</param>
public sealed record ChangeUserRequest(string? Role = null, IReadOnlyList<string?>? Groups = null, bool? Active = null);

/// <summary>Body of <c>PUT /api/slipway/v1/users/{name}/password</c>.</summary>
/// <param name="Password">The new password.</param>
/// <param name="CurrentPassword">The one before: needed of a user that has one and is no administrator.</param>
public sealed record ChangePasswordRequest(string? Password, string? CurrentPassword = null);

/// <summary>A new user; the only answer that ever holds the token.</summary>
/// <param name="Name">The user's name.</param>
/// <param name="Role">What the user may do.</param>
/// <param name="Groups">On whose behalf the user may approve.</param>
/// <param name="Token">Sent as <c>Authorization: Bearer …</c> or as the password of HTTP Basic; null for a user made with a password.</param>
public sealed record CreatedUser(string Name, Role Role, IReadOnlyList<string> Groups, string? Token);

/// <summary>A user as listings show it.</summary>
/// <param name="Name">The user's name.</param>
/// <param name="Role">What the user may do.</param>
/// <param name="Groups">On whose behalf the user may approve.</param>
/// <param name="State">Whether the user may come in.</param>
/// <param name="HasPassword">Whether the user has a password.</param>
/// <param name="Provider">Whether the user comes from the OpenID provider.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="CreatedBy">By whom.</param>
public sealed record UserResponse(
    string Name, Role Role, IReadOnlyList<string> Groups, UserState State, bool HasPassword, bool Provider, DateTimeOffset CreatedAt, string CreatedBy);

/// <summary>Answer of <c>GET /api/slipway/v1/users</c>.</summary>
/// <param name="Users">By name.</param>
public sealed record UserList(IReadOnlyList<UserResponse> Users);

/// <summary>Answer of <c>POST /api/slipway/v1/users/{name}/link</c>.</summary>
/// <param name="Url">Lets the user in once, to choose a password.</param>
/// <param name="ExpiresAt">Until when.</param>
public sealed record SignInLink(Uri Url, DateTimeOffset ExpiresAt);

/// <summary>Answer of <c>GET /api/slipway/v1/whoami</c>.</summary>
/// <param name="Name">Whom the server takes the caller for.</param>
/// <param name="Role">What that user may do.</param>
/// <param name="Groups">On whose behalf that user may approve.</param>
/// <param name="Permissions">Role and limits of the key, spelt out; grants come on top.</param>
/// <param name="Limits">Of the key that was used; null for none.</param>
public sealed record WhoAmI(string Name, Role Role, IReadOnlyList<string> Groups, IReadOnlyList<Permission> Permissions, KeyLimits? Limits = null);

/// <summary>Body of <c>POST /api/slipway/v1/users/{name}/keys</c>.</summary>
/// <param name="Name">What the key is for; unique among the user's keys in force.</param>
/// <param name="Permissions">The only permissions; null for all of the user's.</param>
/// <param name="Models">The only models; null for all.</param>
/// <param name="Experiments">The only experiments, by id; null for all.</param>
/// <param name="Environments">The only environments in which it changes what runs; null for all.</param>
/// <param name="ExpiresIn">How long it works, such as <c>90d</c> or <c>12h</c>; null for ever.</param>
public sealed record CreateKeyRequest(
    string? Name, IReadOnlyList<Permission>? Permissions = null, IReadOnlyList<string>? Models = null, IReadOnlyList<string>? Experiments = null,
    IReadOnlyList<string>? Environments = null, string? ExpiresIn = null);

/// <summary>A key as listings show it.</summary>
/// <param name="Id">Such as <c>key-7</c>.</param>
/// <param name="User">Whose.</param>
/// <param name="Name">What it is for.</param>
/// <param name="Limits">What it may do, out of what its user may.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="CreatedBy">By whom.</param>
/// <param name="ExpiresAt">Until when it works; null for ever.</param>
/// <param name="LastUsedAt">To a minute; null for never.</param>
/// <param name="RevokedAt">When it was withdrawn; null while it is in force.</param>
/// <param name="Token">The secret itself: only in the answer that makes the key.</param>
public sealed record KeyResponse(
    string Id, string User, string Name, KeyLimits Limits, DateTimeOffset CreatedAt, string CreatedBy, DateTimeOffset? ExpiresAt, DateTimeOffset? LastUsedAt, DateTimeOffset? RevokedAt,
    string? Token = null);

/// <summary>Answer of <c>GET /api/slipway/v1/keys</c>.</summary>
/// <param name="Keys">Newest first.</param>
public sealed record KeyList(IReadOnlyList<KeyResponse> Keys);

/// <summary>Body of <c>POST /api/slipway/v1/grants</c>: to a user or a group, on a model or an experiment.</summary>
/// <param name="User">To whom.</param>
/// <param name="Group">To which group.</param>
/// <param name="Model">On which model; <c>*</c> for all.</param>
/// <param name="Experiment">On which experiment, by id; <c>*</c> for all.</param>
/// <param name="Environment">The only environment of the model that it speaks of; null for all.</param>
/// <param name="Permission">NO_PERMISSIONS, READ, USE, EDIT or MANAGE.</param>
public sealed record GrantRequest(string? User, string? Group, string? Model, string? Experiment, string? Environment, string? Permission);

/// <summary>One line of who may do what.</summary>
/// <param name="Id">Its number.</param>
/// <param name="User">To whom; null for a group's.</param>
/// <param name="Group">To which group; null for a user's.</param>
/// <param name="Model">On which model; null for an experiment's.</param>
/// <param name="Experiment">On which experiment; null for a model's.</param>
/// <param name="Environment">The only environment it speaks of; null for all.</param>
/// <param name="Permission">In MLflow's words.</param>
/// <param name="CreatedAt">When it was given.</param>
/// <param name="CreatedBy">By whom.</param>
public sealed record GrantResponse(
    long Id, string? User, string? Group, string? Model, string? Experiment, string? Environment, string Permission, DateTimeOffset CreatedAt, string CreatedBy);

/// <summary>Answer of <c>GET /api/slipway/v1/grants</c>.</summary>
/// <param name="Grants">By what they are on.</param>
public sealed record GrantList(IReadOnlyList<GrantResponse> Grants);
