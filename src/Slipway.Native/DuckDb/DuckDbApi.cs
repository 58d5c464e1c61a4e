using System.Runtime.InteropServices;

namespace Slipway.Native.DuckDb;

/// <summary>Imports of the DuckDB C API, in the order of its header. https://duckdb.org/docs/stable/clients/c/api</summary>
internal static unsafe partial class DuckDbApi
{
    private const string Library = NativeLibraries.DuckDb;

    static DuckDbApi() => NativeLibraries.Register();

    // Open and connect.
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int duckdb_open_ext(string path, out nint database, nint config, out nint error);

    [LibraryImport(Library)]
    internal static partial void duckdb_close(ref nint database);

    [LibraryImport(Library)]
    internal static partial int duckdb_connect(DuckDbDatabaseHandle database, out nint connection);

    [LibraryImport(Library)]
    internal static partial void duckdb_interrupt(DuckDbConnectionHandle connection);

    [LibraryImport(Library)]
    internal static partial void duckdb_disconnect(ref nint connection);

    [LibraryImport(Library)]
    internal static partial nint duckdb_library_version();

    // Configuration.
    [LibraryImport(Library)]
    internal static partial int duckdb_create_config(out nint config);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int duckdb_set_config(nint config, string name, string option);

    [LibraryImport(Library)]
    internal static partial void duckdb_destroy_config(ref nint config);

    // Query execution.
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int duckdb_query(DuckDbConnectionHandle connection, string query, out DuckDbResult result);

    [LibraryImport(Library)]
    internal static partial void duckdb_destroy_result(ref DuckDbResult result);

    [LibraryImport(Library)]
    internal static partial nint duckdb_column_name(ref DuckDbResult result, ulong column);

    [LibraryImport(Library)]
    internal static partial nint duckdb_column_logical_type(ref DuckDbResult result, ulong column);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_column_count(ref DuckDbResult result);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_rows_changed(ref DuckDbResult result);

    [LibraryImport(Library)]
    internal static partial nint duckdb_result_error(ref DuckDbResult result);

    [LibraryImport(Library)]
    internal static partial nint duckdb_fetch_chunk(DuckDbResult result);

    // Helpers.
    [LibraryImport(Library)]
    internal static partial void duckdb_free(nint pointer);

    // Prepared statements.
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int duckdb_prepare(DuckDbConnectionHandle connection, string query, out nint prepared);

    [LibraryImport(Library)]
    internal static partial void duckdb_destroy_prepare(ref nint prepared);

    [LibraryImport(Library)]
    internal static partial nint duckdb_prepare_error(DuckDbStatementHandle prepared);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_nparams(DuckDbStatementHandle prepared);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_boolean(DuckDbStatementHandle prepared, ulong index, [MarshalAs(UnmanagedType.U1)] bool value);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_int64(DuckDbStatementHandle prepared, ulong index, long value);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_double(DuckDbStatementHandle prepared, ulong index, double value);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_date(DuckDbStatementHandle prepared, ulong index, int days);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_timestamp(DuckDbStatementHandle prepared, ulong index, long micros);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_varchar_length(DuckDbStatementHandle prepared, ulong index, byte* value, ulong length);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_blob(DuckDbStatementHandle prepared, ulong index, byte* value, ulong length);

    [LibraryImport(Library)]
    internal static partial int duckdb_bind_null(DuckDbStatementHandle prepared, ulong index);

    [LibraryImport(Library)]
    internal static partial int duckdb_execute_prepared(DuckDbStatementHandle prepared, out DuckDbResult result);

    // Marked for removal upstream once a replacement exists; it is the one call that does not hold the whole result in memory.
    [LibraryImport(Library)]
    internal static partial int duckdb_execute_prepared_streaming(DuckDbStatementHandle prepared, out DuckDbResult result);

    // Logical types.
    [LibraryImport(Library)]
    internal static partial int duckdb_get_type_id(nint type);

    [LibraryImport(Library)]
    internal static partial byte duckdb_decimal_width(nint type);

    [LibraryImport(Library)]
    internal static partial byte duckdb_decimal_scale(nint type);

    [LibraryImport(Library)]
    internal static partial int duckdb_decimal_internal_type(nint type);

    [LibraryImport(Library)]
    internal static partial int duckdb_enum_internal_type(nint type);

    [LibraryImport(Library)]
    internal static partial uint duckdb_enum_dictionary_size(nint type);

    [LibraryImport(Library)]
    internal static partial nint duckdb_enum_dictionary_value(nint type, ulong index);

    [LibraryImport(Library)]
    internal static partial nint duckdb_list_type_child_type(nint type);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_struct_type_child_count(nint type);

    [LibraryImport(Library)]
    internal static partial nint duckdb_struct_type_child_name(nint type, ulong index);

    [LibraryImport(Library)]
    internal static partial nint duckdb_struct_type_child_type(nint type, ulong index);

    [LibraryImport(Library)]
    internal static partial void duckdb_destroy_logical_type(ref nint type);

    // Data chunks and vectors.
    [LibraryImport(Library)]
    internal static partial nint duckdb_create_data_chunk(nint* types, ulong columns);

    [LibraryImport(Library)]
    internal static partial void duckdb_destroy_data_chunk(ref nint chunk);

    [LibraryImport(Library)]
    internal static partial void duckdb_data_chunk_reset(nint chunk);

    [LibraryImport(Library)]
    internal static partial nint duckdb_data_chunk_get_vector(nint chunk, ulong column);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_data_chunk_get_size(nint chunk);

    [LibraryImport(Library)]
    internal static partial void duckdb_data_chunk_set_size(nint chunk, ulong size);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_vector_size();

    [LibraryImport(Library)]
    internal static partial byte* duckdb_vector_get_data(nint vector);

    [LibraryImport(Library)]
    internal static partial ulong* duckdb_vector_get_validity(nint vector);

    [LibraryImport(Library)]
    internal static partial void duckdb_vector_ensure_validity_writable(nint vector);

    [LibraryImport(Library)]
    internal static partial void duckdb_vector_assign_string_element_len(nint vector, ulong index, byte* text, ulong length);

    [LibraryImport(Library)]
    internal static partial nint duckdb_list_vector_get_child(nint vector);

    [LibraryImport(Library)]
    internal static partial nint duckdb_struct_vector_get_child(nint vector, ulong index);

    // Appender.
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int duckdb_appender_create(DuckDbConnectionHandle connection, string? schema, string table, out nint appender);

    [LibraryImport(Library)]
    internal static partial ulong duckdb_appender_column_count(DuckDbAppenderHandle appender);

    [LibraryImport(Library)]
    internal static partial nint duckdb_appender_column_type(DuckDbAppenderHandle appender, ulong column);

    [LibraryImport(Library)]
    internal static partial nint duckdb_appender_error(DuckDbAppenderHandle appender);

    [LibraryImport(Library)]
    internal static partial int duckdb_appender_clear(nint appender);

    [LibraryImport(Library)]
    internal static partial int duckdb_appender_close(DuckDbAppenderHandle appender);

    [LibraryImport(Library)]
    internal static partial int duckdb_appender_destroy(ref nint appender);

    [LibraryImport(Library)]
    internal static partial int duckdb_append_data_chunk(DuckDbAppenderHandle appender, nint chunk);

    // Table functions.
    [LibraryImport(Library)]
    internal static partial nint duckdb_create_logical_type(int type);

    [LibraryImport(Library)]
    internal static partial nint duckdb_create_table_function();

    [LibraryImport(Library)]
    internal static partial void duckdb_destroy_table_function(ref nint function);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial void duckdb_table_function_set_name(nint function, string name);

    [LibraryImport(Library)]
    internal static partial void duckdb_table_function_set_extra_info(nint function, nint extra, delegate* unmanaged[Cdecl]<nint, void> free);

    [LibraryImport(Library)]
    internal static partial void duckdb_table_function_set_bind(nint function, delegate* unmanaged[Cdecl]<nint, void> bind);

    [LibraryImport(Library)]
    internal static partial void duckdb_table_function_set_init(nint function, delegate* unmanaged[Cdecl]<nint, void> init);

    [LibraryImport(Library)]
    internal static partial void duckdb_table_function_set_function(nint function, delegate* unmanaged[Cdecl]<nint, nint, void> fill);

    [LibraryImport(Library)]
    internal static partial int duckdb_register_table_function(DuckDbConnectionHandle connection, nint function);

    [LibraryImport(Library)]
    internal static partial nint duckdb_bind_get_extra_info(nint info);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial void duckdb_bind_add_result_column(nint info, string name, nint type);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial void duckdb_bind_set_error(nint info, string error);

    [LibraryImport(Library)]
    internal static partial nint duckdb_function_get_extra_info(nint info);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial void duckdb_function_set_error(nint info, string error);

    /// <summary>Text owned by DuckDB, read and left alone.</summary>
    internal static string Text(nint pointer) => Marshal.PtrToStringUTF8(pointer) ?? "";

    /// <summary>Text that the caller must free.</summary>
    internal static string TakeText(nint pointer)
    {
        var text = Text(pointer);
        duckdb_free(pointer);
        return text;
    }
}

/// <summary><c>duckdb_result</c>: passed by value to <c>duckdb_fetch_chunk</c>, so its size matters.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DuckDbResult
{
    internal ulong ColumnCount;
    internal ulong RowCount;
    internal ulong RowsChanged;
    internal nint Columns;
    internal nint ErrorMessage;
    internal nint InternalData;
}
