using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Slipway.Native.DuckDb;

/// <summary>
/// Rows that this program makes while a statement reads them (<c>FROM name()</c>): nothing is stored, and a table's statistics are
/// not kept. Only one statement may read a source, and once.
/// </summary>
internal sealed unsafe class DuckDbSource : DuckDbRows
{
    private static long registered;

    private readonly IReadOnlyList<(string Name, DuckDbType Type)> columns;
    private readonly Func<DuckDbRows, bool> next;

    private DuckDbSource(IReadOnlyList<(string Name, DuckDbType Type)> columns, Func<DuckDbRows, bool> next)
        : base([.. columns.Select(column => column.Type)])
    {
        this.columns = columns;
        this.next = next;
        foreach (var (name, type) in columns)
        {
            // The others need more than a number to be described.
            if (type is <= DuckDbType.Invalid or > DuckDbType.TimestampNanos or DuckDbType.Decimal)
            {
                throw new ArgumentException($"Column '{name}' of a source cannot be {type}; only plain types can.", nameof(columns));
            }
        }
    }

    internal static string Register(DuckDbConnectionHandle connection, IReadOnlyList<(string Name, DuckDbType Type)> columns, Func<DuckDbRows, bool> next)
    {
        // Of two functions of one name DuckDB keeps the first and says nothing.
        var name = string.Create(CultureInfo.InvariantCulture, $"source_{Interlocked.Increment(ref registered)}");
        var function = DuckDbApi.duckdb_create_table_function();
        try
        {
            DuckDbApi.duckdb_table_function_set_name(function, name);
            DuckDbApi.duckdb_table_function_set_extra_info(function, GCHandle.ToIntPtr(GCHandle.Alloc(new DuckDbSource(columns, next))), &Free);
            DuckDbApi.duckdb_table_function_set_bind(function, &Bind);
            DuckDbApi.duckdb_table_function_set_init(function, &Init);
            DuckDbApi.duckdb_table_function_set_function(function, &Fill);
            if (DuckDbApi.duckdb_register_table_function(connection, function) != 0)
            {
                throw new DuckDbException($"The source '{name}' could not be registered.");
            }

            return name;
        }
        finally
        {
            DuckDbApi.duckdb_destroy_table_function(ref function);
        }
    }

    // Full rows go to DuckDB before the next value may come.
    private protected override void OnFull() => End();

    private void Fill(nint chunk)
    {
        Begin(chunk);
        try
        {
            while (Row < Capacity && next(this))
            {
            }

            if (IsInRow)
            {
                throw new InvalidOperationException("The last row was not ended.");
            }
        }
        finally
        {
            End();
        }

        DuckDbApi.duckdb_data_chunk_set_size(chunk, (ulong)Row);
    }

    private static DuckDbSource Of(nint extra) => (DuckDbSource)GCHandle.FromIntPtr(extra).Target!;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Bind(nint info)
    {
        try
        {
            foreach (var (name, type) in Of(DuckDbApi.duckdb_bind_get_extra_info(info)).columns)
            {
                var logical = DuckDbApi.duckdb_create_logical_type((int)type);
                DuckDbApi.duckdb_bind_add_result_column(info, name, logical);
                DuckDbApi.duckdb_destroy_logical_type(ref logical);
            }
        }
        catch (Exception e)
        {
            DuckDbApi.duckdb_bind_set_error(info, e.Message);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Init(nint info)
    {
        // DuckDB demands one; there is no state beyond the source itself.
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Fill(nint info, nint chunk)
    {
        try
        {
            Of(DuckDbApi.duckdb_function_get_extra_info(info)).Fill(chunk);
        }
        catch (Exception e)
        {
            // Nothing managed may cross native frames: the statement fails with the message.
            DuckDbApi.duckdb_function_set_error(info, $"{e.Message} ({e.GetType().Name})");
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Free(nint extra) => GCHandle.FromIntPtr(extra).Free();
}
