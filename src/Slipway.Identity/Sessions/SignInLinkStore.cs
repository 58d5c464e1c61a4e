using Dapper;
using Slipway.Contracts;
using Slipway.Identity.Passwords;
using Slipway.Storage;

namespace Slipway.Identity.Sessions;

/// <summary>Owns the <c>sign_in_links</c> table: links that let one user in, once and for a short while, to choose a password.</summary>
public sealed class SignInLinkStore(Database database, IdentityDirectory directory)
{
    /// <summary>How long the link of the first start works.</summary>
    internal static readonly TimeSpan FirstLife = TimeSpan.FromHours(1);

    /// <summary>How long a link that an administrator makes works.</summary>
    public static readonly TimeSpan Life = TimeSpan.FromDays(1);

    /// <summary>The link itself.</summary>
    /// <param name="server">The server's address, without a path.</param>
    /// <param name="code">Made by this store.</param>
    public static Uri Address(string server, string code) => new($"{server.TrimEnd('/')}/sign-in/link?code={code}");

    /// <summary>Makes a link; those that the user had before stop working.</summary>
    /// <returns>The code to put into the address.</returns>
    /// <exception cref="SlipwayException">NotFound: the user.</exception>
    public Task<string> CreateAsync(string user, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
        Insert(transaction, UserStore.Get(transaction.Connection, user).Name, Life, by), cancellationToken);

    /// <summary>Whom the link lets in; null when it has been used or is too old. Looking uses nothing up, since mail programs look at links.</summary>
    public string? FindUser(string code) => database.Read(connection => connection.ExecuteScalar<string?>(
        "SELECT user_name FROM sign_in_links WHERE code_sha256 = @digest AND expires_at_ms > @now",
        new { digest = SecretDigest.Of(code).ToString(), now = directory.NowMs }));

    /// <summary>Uses the link up and sets its user's password.</summary>
    /// <returns>The user's name.</returns>
    /// <exception cref="SlipwayException">NotFound: used or too old; InvalidArgument: the password.</exception>
    public async Task<string> UseAsync(string code, string password, Caller by, CancellationToken cancellationToken)
    {
        PasswordRules.Check(password, FindUser(code) ?? throw Gone());
        var hash = await PasswordHash.OfAsync(password, cancellationToken);
        return await directory.ChangeAsync(transaction =>
        {
            var user = transaction.Connection.ExecuteScalar<string?>(
                "DELETE FROM sign_in_links WHERE code_sha256 = @digest AND expires_at_ms > @now RETURNING user_name",
                new { digest = SecretDigest.Of(code).ToString(), now = transaction.NowMs }) ?? throw Gone();
            return UserStore.SetPassword(transaction, user, hash, by with { Name = user }).Name;
        }, cancellationToken);
    }

    internal static string Insert(WriteTransaction transaction, string user, TimeSpan life, Caller by)
    {
        var code = SecretDigest.NewSecret("");
        RemoveOf(transaction, user);
        transaction.Connection.Execute(
            "INSERT INTO sign_in_links (code_sha256, user_name, created_by, expires_at_ms) VALUES (@digest, @user, @by, @expires)",
            new { digest = SecretDigest.Of(code).ToString(), user, by = by.Name, expires = transaction.NowMs + (long)life.TotalMilliseconds });
        transaction.Audit(by, "user.sign_in_link_made", new NodeRef(NodeKinds.User, user), after: new { expires_at_ms = transaction.NowMs + (long)life.TotalMilliseconds });
        return code;
    }

    internal static void RemoveOf(WriteTransaction transaction, string user) =>
        transaction.Connection.Execute("DELETE FROM sign_in_links WHERE user_name = @user", new { user });

    private static SlipwayException Gone() => new(ErrorCode.NotFound, "This link has been used already or is too old; ask an administrator for another (slipway user link NAME).");
}
