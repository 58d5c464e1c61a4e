using System.Data;
using System.Data.Common;
using Slipway.Storage;

namespace Slipway.Tracking.Traces;

/// <summary>Writes many spans with statements made once. A span that comes again replaces itself.</summary>
internal sealed class SpanWriter : IDisposable
{
    private readonly DbCommand _span;
    private readonly DbCommand _clear;
    private readonly DbCommand _attribute;

    public SpanWriter(DbConnection connection)
    {
        _span = connection.CreateCommand();
        _span.CommandText =
            """
            INSERT INTO spans (trace, span_id, parent_span_id, name, type, status, start_ns, end_ns, content)
            VALUES (@trace, @span, @parent, @name, @type, @status, @start, @end, @content)
            ON CONFLICT (trace, span_id) DO UPDATE SET parent_span_id = excluded.parent_span_id, name = excluded.name, type = excluded.type,
                   status = excluded.status, start_ns = excluded.start_ns, end_ns = excluded.end_ns, content = excluded.content
            """;
        _clear = connection.CreateCommand();
        _clear.CommandText = "DELETE FROM span_attributes WHERE trace = @trace AND span_id = @span";
        _attribute = connection.CreateCommand();
        _attribute.CommandText =
            """
            INSERT INTO span_attributes (trace, span_id, key, value, number) VALUES (@trace, @span, @key, @value, @number)
            ON CONFLICT (trace, span_id, key) DO UPDATE SET value = excluded.value, number = excluded.number
            """;
        foreach (var command in (DbCommand[])[_span, _clear, _attribute])
        {
            command.Add("@trace", DbType.Int64);
            command.Add("@span", DbType.String);
        }

        foreach (var name in (string[])["@parent", "@name", "@type", "@status", "@content"])
        {
            _span.Add(name, DbType.String);
        }

        _span.Add("@start", DbType.Int64);
        _span.Add("@end", DbType.Int64);
        _attribute.Add("@key", DbType.String);
        _attribute.Add("@value", DbType.String);
        _attribute.Add("@number", DbType.Double);
        foreach (var command in (DbCommand[])[_span, _clear, _attribute])
        {
            command.Prepare();
        }
    }

    /// <param name="trace">The trace's number.</param>
    /// <param name="span">The span.</param>
    /// <param name="content">Its kept JSON, made before the writer's turn.</param>
    public void Write(long trace, Span span, string content)
    {
        Set(_span, ("@trace", trace), ("@span", span.SpanId), ("@parent", span.ParentSpanId), ("@name", RunLimits.Truncate(span.Name, TraceLimits.SpanNameMax)),
            ("@type", RunLimits.Truncate(SpanConventions.Type(span), TraceLimits.SpanTypeMax)), ("@status", span.Status), ("@start", span.StartNs), ("@end", span.EndNs), ("@content", content));
        Set(_clear, ("@trace", trace), ("@span", span.SpanId));
        foreach (var (key, json) in span.Attributes)
        {
            if (key.Length is 0 or > TraceLimits.AttributeKeyMax)
            {
                continue; // Kept in the span, but not searchable by this key.
            }

            var (text, number) = SpanConventions.Text(json);
            Set(_attribute, ("@trace", trace), ("@span", span.SpanId), ("@key", key), ("@value", RunLimits.Truncate(text, TraceLimits.AttributeValueMax)), ("@number", number));
        }
    }

    public void Dispose()
    {
        _span.Dispose();
        _clear.Dispose();
        _attribute.Dispose();
    }

    private static void Set(DbCommand command, params ReadOnlySpan<(string Name, object? Value)> values)
    {
        foreach (var (name, value) in values)
        {
            command.Parameters[name].Value = value ?? DBNull.Value;
        }

        command.ExecuteNonQuery();
    }
}
