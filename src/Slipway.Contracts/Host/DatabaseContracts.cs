namespace Slipway.Contracts.Host;

/// <summary>What a database is and how far its schema has come.</summary>
/// <param name="Engine">Such as <c>PostgreSQL 15.8</c>.</param>
/// <param name="Location">The file, or the server and database; holds no password.</param>
/// <param name="SizeBytes">What the data takes.</param>
/// <param name="UpToDate">Whether every migration that this build knows has been applied.</param>
/// <param name="Areas">In the order in which they are applied.</param>
public sealed record DatabaseStatus(string Engine, string Location, long SizeBytes, bool UpToDate, IReadOnlyList<DatabaseAreaStatus> Areas);

/// <summary>One area's schema.</summary>
/// <param name="Area">Such as <c>tracking</c>.</param>
/// <param name="Applied">Number of the newest migration in the database; 0 for none.</param>
/// <param name="Known">Number of the newest migration that this build knows.</param>
/// <param name="Pending">The files that have not been applied.</param>
public sealed record DatabaseAreaStatus(string Area, long Applied, long Known, IReadOnlyList<string> Pending);

/// <summary>What <c>slipway db migrate</c> has done.</summary>
/// <param name="Location">The database.</param>
/// <param name="Applied">The files applied now, as area/file.</param>
public sealed record DatabaseMigration(string Location, IReadOnlyList<string> Applied);

/// <summary>What was written to or read from a backup.</summary>
/// <param name="File">The backup.</param>
/// <param name="Location">The database.</param>
/// <param name="Engine">The engine that the backup was made on.</param>
/// <param name="Tables">How many.</param>
/// <param name="Rows">In all tables together.</param>
/// <param name="CreatedAt">When the backup was made.</param>
public sealed record DatabaseBackup(string File, string Location, string Engine, int Tables, long Rows, DateTimeOffset CreatedAt);
