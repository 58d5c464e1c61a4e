namespace Slipway.Contracts.Identity;

/// <summary>Whether a user may come in.</summary>
public enum UserState
{
    /// <summary>Yes.</summary>
    Active,

    /// <summary>Not now: keys and password are refused, sessions are ended.</summary>
    Disabled,

    /// <summary>Never again; the name stays taken.</summary>
    Deleted,
}
