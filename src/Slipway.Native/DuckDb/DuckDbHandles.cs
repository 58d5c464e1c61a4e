using System.Runtime.InteropServices;

namespace Slipway.Native.DuckDb;

/// <summary>Owns a <c>duckdb_database</c>. Connections keep the database itself alive, so the order of closing is free.</summary>
internal sealed class DuckDbDatabaseHandle : SafeHandle
{
    internal DuckDbDatabaseHandle(nint database)
        : base(0, ownsHandle: true) => SetHandle(database);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        DuckDbApi.duckdb_close(ref handle);
        return true;
    }
}

internal sealed class DuckDbConnectionHandle : SafeHandle
{
    internal DuckDbConnectionHandle(nint connection)
        : base(0, ownsHandle: true) => SetHandle(connection);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        DuckDbApi.duckdb_disconnect(ref handle);
        return true;
    }
}

internal sealed class DuckDbStatementHandle : SafeHandle
{
    internal DuckDbStatementHandle(nint statement)
        : base(0, ownsHandle: true) => SetHandle(statement);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        DuckDbApi.duckdb_destroy_prepare(ref handle);
        return true;
    }
}

internal sealed class DuckDbAppenderHandle : SafeHandle
{
    internal DuckDbAppenderHandle(nint appender)
        : base(0, ownsHandle: true) => SetHandle(appender);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        // Destroying flushes; rows that nobody closed are rows that nobody vouched for.
        _ = DuckDbApi.duckdb_appender_clear(handle);
        return DuckDbApi.duckdb_appender_destroy(ref handle) == 0;
    }
}
