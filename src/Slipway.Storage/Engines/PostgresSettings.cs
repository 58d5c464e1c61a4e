using Npgsql;
using Slipway.Contracts;

namespace Slipway.Storage.Engines;

/// <summary>How the two kinds of connections are made. Holds the password: never print it.</summary>
/// <param name="Location">Host, database and schema, fit to be shown.</param>
/// <param name="Readers">Pooled and read-only.</param>
/// <param name="Writer">One at a time.</param>
internal sealed record PostgresSettings(string Location, NpgsqlConnectionStringBuilder Readers, NpgsqlConnectionStringBuilder Writer)
{
    // libpq's names for what Npgsql calls otherwise.
    private static readonly Dictionary<string, string> Keywords = new(StringComparer.OrdinalIgnoreCase)
    {
        ["user"] = "Username",
        ["dbname"] = "Database",
        ["sslmode"] = "SSL Mode",
        ["sslrootcert"] = "Root Certificate",
        ["sslcert"] = "SSL Certificate",
        ["sslkey"] = "SSL Key",
        ["sslpassword"] = "SSL Password",
        ["connect_timeout"] = "Timeout",
        ["application_name"] = "Application Name",
        ["search_path"] = "Search Path",
        ["currentSchema"] = "Search Path",
        ["schema"] = "Search Path",
        ["target_session_attrs"] = "Target Session Attributes",
        ["channel_binding"] = "Channel Binding",
        ["passfile"] = "Passfile",
        ["pool_size"] = "Maximum Pool Size",
    };

    /// <summary>Whether a --database value means PostgreSQL: a postgresql:// address, or keywords such as <c>Host=…;Database=…</c>.</summary>
    public static bool IsPostgres(string value) =>
        value.StartsWith("postgresql:", StringComparison.OrdinalIgnoreCase) || value.StartsWith("postgres:", StringComparison.OrdinalIgnoreCase)
        || value.Split(';').Any(part => part.TrimStart().StartsWith("Host=", StringComparison.OrdinalIgnoreCase));

    /// <exception cref="SlipwayException">InvalidArgument: what is wrong, without the value itself.</exception>
    public static PostgresSettings Parse(string value, bool patient = false)
    {
        var settings = value.Contains("://", StringComparison.Ordinal) ? FromAddress(value) : FromKeywords(value);
        if (string.IsNullOrEmpty(settings.Host))
        {
            throw Wrong("it names no host");
        }

        settings.Database ??= settings.Username;
        if (string.IsNullOrEmpty(settings.Database))
        {
            throw Wrong("it names no database");
        }

        Default(settings, "Timeout", 3);
        Default(settings, "Application Name", "slipway");
        Default(settings, "Max Auto Prepare", 200);
        Default(settings, "Auto Prepare Min Usages", 2);
        Default(settings, "Maximum Pool Size", 32);
        Default(settings, "No Reset On Close", true); // Nothing of ours changes a session.
        Default(settings, "Keepalive", 30);
        if (patient)
        {
            settings.CommandTimeout = 0;
        }

        settings.IncludeErrorDetail = false; // It would carry rows' values into the log.

        var readers = new NpgsqlConnectionStringBuilder(settings.ToString())
        {
            Options = string.Join(' ', new[] { settings.Options, "-c default_transaction_read_only=on" }.Where(part => !string.IsNullOrEmpty(part))),
        };
        var writer = new NpgsqlConnectionStringBuilder(settings.ToString()) { Pooling = false };
        var schema = string.IsNullOrEmpty(settings.SearchPath) ? "" : $", schema {settings.SearchPath}";
        return new PostgresSettings($"The PostgreSQL database '{settings.Database}' at {settings.Host}:{settings.Port}{schema}", readers, writer);
    }

    private static NpgsqlConnectionStringBuilder FromAddress(string value)
    {
        if (!Uri.TryCreate(value, UriKind.Absolute, out var address))
        {
            throw Wrong("it is not an address; characters such as @ : / # in the password are written %40 %3A %2F %23");
        }

        var settings = new NpgsqlConnectionStringBuilder();
        if (address.Host.Length > 0)
        {
            settings.Host = Uri.UnescapeDataString(address.Host.Trim('[', ']'));
        }

        if (address.Port > 0)
        {
            settings.Port = address.Port;
        }

        var user = address.UserInfo.Split(':', 2);
        if (user[0].Length > 0)
        {
            settings.Username = Uri.UnescapeDataString(user[0]);
        }

        if (user.Length == 2)
        {
            settings.Password = Uri.UnescapeDataString(user[1]);
        }

        if (address.AbsolutePath.Trim('/') is { Length: > 0 } database)
        {
            settings.Database = Uri.UnescapeDataString(database);
        }

        foreach (var pair in address.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = pair.Split('=', 2);
            var key = Uri.UnescapeDataString(parts[0]);
            var text = parts.Length == 2 ? Uri.UnescapeDataString(parts[1].Replace('+', ' ')) : "";
            try
            {
                settings[Keywords.GetValueOrDefault(key, key)] = key.Equals("sslmode", StringComparison.OrdinalIgnoreCase) ? text.Replace("-", "", StringComparison.Ordinal) : text;
            }
            catch (Exception e) when (e is ArgumentException or FormatException or KeyNotFoundException or InvalidCastException or OverflowException)
            {
                throw Wrong($"'{key}' is not a setting of a PostgreSQL connection, or has a wrong value");
            }
        }

        return settings;
    }

    private static NpgsqlConnectionStringBuilder FromKeywords(string value)
    {
        try
        {
            return new NpgsqlConnectionStringBuilder(value);
        }
        catch (Exception e) when (e is ArgumentException or FormatException or KeyNotFoundException or InvalidCastException or OverflowException)
        {
            throw Wrong("a keyword is not one of Npgsql's, or has a wrong value");
        }
    }

    private static void Default(NpgsqlConnectionStringBuilder settings, string keyword, object value)
    {
        if (!settings.ContainsKey(keyword) || !settings.ShouldSerialize(keyword))
        {
            settings[keyword] = value;
        }
    }

    // The cause may quote the value, and with it the password: it is not kept.
    private static SlipwayException Wrong(string what) =>
        new(ErrorCode.InvalidArgument, $"--database cannot be read: {what}. Expected: postgresql://user:password@host:port/database?sslmode=require.");
}
