namespace Slipway.Storage.Backups;

/// <summary>The first thing to read in a backup: <c>manifest.json</c>.</summary>
internal sealed record BackupManifest(
    string Format, string Engine, DateTimeOffset CreatedAt, IReadOnlyList<BackupMigration> Migrations, IReadOnlyList<BackupTable> Tables)
{
    public const string FormatName = "slipway-backup-1";

    public const string EntryName = "manifest.json";
}

/// <summary>One migration that the database had.</summary>
internal sealed record BackupMigration(string Area, long Number, string Name);

/// <summary>One table's file, <c>tables/NAME.copy</c>.</summary>
/// <param name="Name">The table.</param>
/// <param name="Columns">In the order of the fields.</param>
/// <param name="Rows">How many.</param>
/// <param name="Sha256">Of the file before compression.</param>
/// <param name="Counter">The highest number the table's counter has given; null when it has none.</param>
internal sealed record BackupTable(string Name, IReadOnlyList<TableColumn> Columns, long Rows, string Sha256, long? Counter)
{
    public string EntryName => $"tables/{Name}.copy";
}
