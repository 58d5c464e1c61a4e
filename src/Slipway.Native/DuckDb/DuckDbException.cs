namespace Slipway.Native.DuckDb;

/// <summary>DuckDB refused a statement or a value; the message is DuckDB's own.</summary>
public sealed class DuckDbException : Exception
{
    /// <summary>An empty error.</summary>
    public DuckDbException()
    {
    }

    /// <summary>An error with DuckDB's message.</summary>
    public DuckDbException(string message)
        : base(message)
    {
    }

    /// <summary>An error with DuckDB's message and the failure beneath it.</summary>
    public DuckDbException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
