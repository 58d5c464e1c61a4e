namespace Slipway.Storage.Backups;

/// <summary>What a column holds, the same on both engines.</summary>
internal enum ColumnType
{
    /// <summary>64 bits.</summary>
    Integer,

    /// <summary>Double precision.</summary>
    Real,

    /// <summary>UTF-8.</summary>
    Text,

    /// <summary>Anything.</summary>
    Bytes,
}

internal sealed record TableColumn(string Name, ColumnType Type);

/// <summary>A table as both engines have it.</summary>
/// <param name="Name">Lower case, needs no quotes.</param>
/// <param name="Columns">In their order.</param>
/// <param name="Key">Columns of the primary key in its order.</param>
/// <param name="References">Tables that its rows refer to.</param>
internal sealed record TableShape(string Name, IReadOnlyList<TableColumn> Columns, IReadOnlyList<string> Key, IReadOnlyList<string> References)
{
    public string ColumnList => string.Join(", ", Columns.Select(column => column.Name));

    /// <summary>Parents before children: the order in which rows can be added. Backwards, tables can be dropped.</summary>
    public static IReadOnlyList<TableShape> ParentsFirst(IEnumerable<TableShape> tables)
    {
        var waiting = tables.OrderBy(table => table.Name, StringComparer.Ordinal).ToList();
        var ordered = new List<TableShape>();
        while (waiting.Count > 0)
        {
            var next = waiting.Find(table => table.References.All(parent => parent == table.Name || waiting.All(other => other.Name != parent)))
                ?? throw new InvalidOperationException($"The tables {string.Join(", ", waiting.Select(table => table.Name))} refer to each other in a circle.");
            ordered.Add(next);
            waiting.Remove(next);
        }

        return ordered;
    }
}
