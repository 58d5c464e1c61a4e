using System.Globalization;
using Slipway.Native.DuckDb;

namespace Slipway.Tests.Native;

public sealed class DuckDbTests : IDisposable
{
    private readonly DuckDbDatabase database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 2, MemoryLimit = "512MB" });
    private readonly DuckDbConnection connection;

    public DuckDbTests() => connection = database.Connect();

    public void Dispose()
    {
        connection.Dispose();
        database.Dispose();
    }

    public static TheoryData<string, object?, string> Values => new()
    {
        { "true", true, "BOOLEAN" },
        { "(-5)::TINYINT", (sbyte)-5, "TINYINT" },
        { "(-300)::SMALLINT", (short)-300, "SMALLINT" },
        { "(-70000)::INTEGER", -70000, "INTEGER" },
        { "9007199254740993::BIGINT", 9007199254740993L, "BIGINT" },
        { "200::UTINYINT", (byte)200, "UTINYINT" },
        { "60000::USMALLINT", (ushort)60000, "USMALLINT" },
        { "4000000000::UINTEGER", 4000000000u, "UINTEGER" },
        { "18446744073709551615::UBIGINT", ulong.MaxValue, "UBIGINT" },
        { "1.5::FLOAT", 1.5f, "FLOAT" },
        { "0.1::DOUBLE", 0.1, "DOUBLE" },
        { "(-9223372036854775807)::HUGEINT", -9223372036854775807L, "HUGEINT" },
        { "100000000000000000000::HUGEINT", 1e20, "HUGEINT" },
        { "(-12.34)::DECIMAL(4,2)", -12.34m, "DECIMAL(4,2)" },
        { "1234567.891::DECIMAL(18,3)", 1234567.891m, "DECIMAL(18,3)" },
        { "(-79228162514264337593543950.335)::DECIMAL(38,3)", -79228162514264337593543950.335m, "DECIMAL(38,3)" },
        { "TIMESTAMP '2001-05-06 07:08:09.123456'", At("2001-05-06T07:08:09.123456Z"), "TIMESTAMP" },
        { "TIMESTAMPTZ '2001-05-06 07:08:09.123456+02'", At("2001-05-06T05:08:09.123456Z"), "TIMESTAMP WITH TIME ZONE" },
        { "TIMESTAMP_S '1969-12-31 23:59:59'", At("1969-12-31T23:59:59Z"), "TIMESTAMP_S" },
        { "TIMESTAMP_MS '2001-05-06 07:08:09.123'", At("2001-05-06T07:08:09.123Z"), "TIMESTAMP_MS" },
        { "TIMESTAMP_NS '2001-05-06 07:08:09.123456'", At("2001-05-06T07:08:09.123456Z"), "TIMESTAMP_NS" },
        { "DATE '1969-07-20'", new DateOnly(1969, 7, 20), "DATE" },
        { "TIME '07:08:09.5'", new TimeOnly(7, 8, 9, 500), "TIME" },
        { "'short'", "short", "VARCHAR" },
        { "'longer than twelve bytes, with é'", "longer than twelve bytes, with é", "VARCHAR" },
        { "''", "", "VARCHAR" },
        { "'\\x00\\xFF'::BLOB", new byte[] { 0, 255 }, "BLOB" },
        { "'ok'::ENUM('bad', 'ok')", "ok", "ENUM" },
        { "UUID '00112233-4455-6677-8899-aabbccddeeff'", Guid.Parse("00112233-4455-6677-8899-aabbccddeeff"), "UUID" },
        { "[1.5, NULL]::DOUBLE[]", new object?[] { 1.5, null }, "DOUBLE[]" },
    };

    [Theory, MemberData(nameof(Values))]
    public void Every_supported_type_and_its_null_come_back_as_the_stated_value(string sql, object? expected, string typeName)
    {
        using var reader = connection.Query($"SELECT v, CASE WHEN false THEN v END AS nothing FROM (SELECT {sql} AS v)");

        Assert.True(reader.NextChunk());
        Assert.Equal(typeName, reader.Columns[0].TypeName);
        Assert.Equal(expected, reader.Value(0, 0));
        Assert.False(reader.IsNull(0, 0));
        Assert.Null(reader.Value(1, 0));
        Assert.True(reader.IsNull(1, 0));
        Assert.False(reader.NextChunk());
    }

    public static TheoryData<object?> Parameters => new TheoryData<object?>
    {
        (object?)null, "", "it's \"quoted\" ; DROP TABLE x", "with \0 inside", true, 42L, 1.25, At("2001-05-06T07:08:09.123456Z"), new DateOnly(2001, 6, 30), new byte[] { 1, 0, 2 },
    };

    [Theory, MemberData(nameof(Parameters))]
    public void A_parameter_of_every_supported_type_comes_back_unchanged(object? value) =>
        Assert.Equal(value, Assert.Single(connection.QueryRows("SELECT ?", value))[0]);

    [Fact]
    public void Spans_read_many_chunks_and_convert_between_number_types()
    {
        using var reader = connection.Query(
            "SELECT i, i::INTEGER AS n, i / 2 AS half, i % 2 = 0 AS even, TIMESTAMP '2001-01-01' + INTERVAL (i) SECOND AS at, "
            + "CASE WHEN i % 3 = 0 THEN NULL ELSE i::FLOAT END AS gaps, 'row ' || i AS name, (i * 0.01)::DECIMAL(9,2) AS price "
            + "FROM range(5000) t(i) ORDER BY i");
        var rows = 0;
        var start = DuckDbTime.ToMicros(At("2001-01-01T00:00:00Z"));
        var matrix = new float[2048 * 2];
        while (reader.NextChunk())
        {
            reader.CopyFloats(reader.Ordinal("gaps"), matrix, 2);
            reader.CopyFloats(reader.Ordinal("price"), matrix.AsSpan(1), 2);
            for (var i = 0; i < reader.RowCount; i++, rows++)
            {
                Assert.Equal(rows, reader.Int64(0)[i]);
                Assert.Equal(rows, reader.Int32(1)[i]);
                Assert.Equal(rows, reader.Int64(1)[i]);
                Assert.Equal(rows / 2.0, reader.Double(2)[i]);
                Assert.Equal(rows % 2 == 0, reader.Bool(3)[i]);
                Assert.Equal(start + rows * 1_000_000L, reader.TimestampMicros(4)[i]);
                Assert.Equal(rows % 3 == 0, reader.IsNull(5, i));
                Assert.Equal(rows % 3 == 0 ? float.NaN : rows, matrix[i * 2]);
                Assert.Equal($"row {rows}", reader.String(6, i));
                Assert.Equal(rows * 0.01, reader.Double(7)[i], 9);
                Assert.Equal(rows * 0.01f, matrix[i * 2 + 1], 0.001f);
            }
        }

        Assert.Equal(5000, rows);
    }

    [Fact]
    public void Reading_before_the_first_or_after_the_last_chunk_is_refused()
    {
        using var reader = connection.Query("SELECT 1 AS n");
        Assert.Throws<InvalidOperationException>(() => reader.Int64(0).Length);
        Assert.True(reader.NextChunk());
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.IsNull(0, 1));
        Assert.False(reader.NextChunk());
        Assert.Throws<InvalidOperationException>(() => reader.Int64(0).Length);
    }

    [Fact]
    public void Sums_of_integers_convert_to_the_asked_scalar_type()
    {
        Assert.Equal(4950L, connection.QueryScalar<long>("SELECT sum(i) FROM range(100) t(i)"));
        Assert.Equal(4950.0, connection.QueryScalar<double>("SELECT sum(i) FROM range(100) t(i)"));
        Assert.Null(connection.QueryScalar<long?>("SELECT sum(i) FROM range(0) t(i)"));
        Assert.Equal(0, connection.QueryScalar<int>("SELECT 1 WHERE false"));
    }

    [Fact]
    public void Parquet_written_is_read_back_equal()
    {
        var file = Path.Combine(Path.GetTempPath(), $"slipway 'quoted' {Guid.NewGuid():N}.parquet");
        try
        {
            var written = connection.Execute(
                $"COPY (SELECT i AS id, CASE WHEN i % 2 = 0 THEN 'even' END AS label, i * 0.5 AS x FROM range(3000) t(i)) TO {DuckDbLiteral.Quote(file)} (FORMAT parquet)");

            Assert.Equal(3000, written);
            var row = Assert.Single(connection.QueryRows("SELECT count(*), count(label), sum(x)::DOUBLE FROM read_parquet(?)", file));
            Assert.Equal([3000L, 1500L, 2999 * 3000 / 4.0], row);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Appended_rows_of_every_kind_are_stored()
    {
        connection.Execute(
            "CREATE TABLE points (id BIGINT, small SMALLINT, x DOUBLE, f FLOAT, ok BOOLEAN, name VARCHAR, seen TIMESTAMP, zoned TIMESTAMPTZ, day DATE, raw BLOB)");
        var at = At("2001-05-06T07:08:09.123456Z");
        using (var appender = connection.Append("points"))
        {
            for (var i = 0; i < 5000; i++)
            {
                appender.AppendInt64(i);
                appender.AppendInt64(i % 100);
                appender.AppendDouble(i * 0.5);
                if (i % 7 == 0)
                {
                    appender.AppendNull();
                }
                else
                {
                    appender.AppendDouble(i);
                }

                appender.AppendBool(i % 2 == 0);
                appender.AppendString(i % 5 == 0 ? null : $"the name of row number {i}");
                appender.AppendTimestamp(at.AddSeconds(i));
                appender.AppendTimestamp(at);
                appender.AppendDate(new DateOnly(2001, 5, 6));
                appender.AppendBytes([1, 0, 2]);
                appender.EndRow();
            }

            appender.Close();
            Assert.Equal(5000, appender.RowsAppended);
        }

        var row = Assert.Single(connection.QueryRows(
            "SELECT count(*), sum(id), max(small), sum(x), count(f), count(*) FILTER (ok), count(name), max(seen), min(zoned), min(day), min(raw) FROM points"));
        Assert.Equal(
            [5000L, 12497500L, (short)99, 6248750.0, 4285L, 2500L, 4000L, at.AddSeconds(4999), at, new DateOnly(2001, 5, 6), new byte[] { 1, 0, 2 }],
            row);
        Assert.Equal("the name of row number 4999", connection.QueryScalar<string>("SELECT name FROM points WHERE id = 4999"));
    }

    [Fact]
    public void An_appender_that_is_not_closed_leaves_no_rows()
    {
        connection.Execute("CREATE TABLE numbers (n BIGINT)");
        using (var appender = connection.Append("numbers"))
        {
            appender.AppendInt64(1);
            appender.EndRow();
        }

        Assert.Equal(0L, connection.QueryScalar<long>("SELECT count(*) FROM numbers"));
    }

    [Fact]
    public void An_appender_refuses_what_does_not_fit()
    {
        connection.Execute("CREATE TABLE numbers (n TINYINT NOT NULL, t VARCHAR)");
        using var appender = connection.Append("numbers");

        Assert.Contains("VARCHAR", Assert.Throws<DuckDbException>(() => appender.AppendString("x")).Message, StringComparison.Ordinal);
        appender.AppendInt64(1);
        Assert.Throws<InvalidOperationException>(appender.EndRow);
        Assert.Contains("missing", Assert.Throws<DuckDbException>(() => connection.Append("missing")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_source_gives_its_rows_to_the_statement_that_reads_it()
    {
        var count = 0;
        var made = connection.RegisterSource([("n", DuckDbType.BigInt), ("odd \"half\"", DuckDbType.Double), ("name", DuckDbType.Varchar)], rows =>
        {
            if (count == 5000)
            {
                return false;
            }

            rows.AppendInt64(count);
            if (count % 2 == 0)
            {
                rows.AppendNull();
            }
            else
            {
                rows.AppendDouble(count / 2.0);
            }

            rows.AppendString($"row number {count}");
            rows.EndRow();
            count++;
            return true;
        });

        Assert.Equal(
            [5000L, 12497500L, 2500L, 3125000.0, 5000L, "row number 4999"],
            connection.QueryRows($"SELECT count(*), sum(n)::BIGINT, count(h), sum(h), count(DISTINCT name), arg_max(name, n) FROM (SELECT *, \"odd \"\"half\"\"\" AS h FROM {made}())")[0]);
    }

    [Fact]
    public void A_source_that_fails_fails_the_statement_with_its_message()
    {
        var broken = connection.RegisterSource([("n", DuckDbType.BigInt)], _ => throw new IOException("the disk is gone"));
        var half = connection.RegisterSource([("n", DuckDbType.BigInt), ("m", DuckDbType.BigInt)], rows =>
        {
            rows.AppendInt64(1);
            return false;
        });

        Assert.Contains("the disk is gone", Assert.Throws<DuckDbException>(() => connection.Execute($"CREATE TABLE t AS FROM {broken}()")).Message, StringComparison.Ordinal);
        Assert.Contains("not ended", Assert.Throws<DuckDbException>(() => connection.Execute($"CREATE TABLE t AS FROM {half}()")).Message, StringComparison.Ordinal);
        Assert.Equal(1L, connection.QueryScalar<long>("SELECT 1"));
    }

    [Fact]
    public void Sources_have_names_of_their_own_whatever_the_connection_did_before()
    {
        Assert.Equal(1L, connection.QueryScalar<long>("SELECT 1"));
        using var other = database.Connect();
        var first = connection.RegisterSource([("n", DuckDbType.BigInt)], _ => false);
        var second = other.RegisterSource([("m", DuckDbType.BigInt)], _ => false);

        Assert.Equal(0L, other.QueryScalar<long>($"SELECT count(n) FROM {first}()"));
        Assert.Equal(0L, connection.QueryScalar<long>($"SELECT count(m) FROM {second}()"));
    }

    [Fact]
    public void A_wrong_statement_fails_with_the_message_of_DuckDB()
    {
        var error = Assert.Throws<DuckDbException>(() => connection.QueryRows("SELECT missing_column FROM range(3)"));
        Assert.Contains("missing_column", error.Message, StringComparison.Ordinal);

        const string Late = "SELECT CASE WHEN i = 100000 THEN error('too far') ELSE i::VARCHAR END FROM range(200000) t(i)";
        using var alone = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1, MemoryLimit = "256MB" });
        using var single = alone.Connect();
        Assert.Contains("too far", Assert.Throws<DuckDbException>(() => single.QueryRows(Late)).Message, StringComparison.Ordinal);

        // Of several threads DuckDB may keep what those said that it interrupted; never is that taken for the reason.
        for (var i = 0; i < 20; i++)
        {
            var message = Assert.Throws<DuckDbException>(() => connection.QueryRows(Late)).Message;
            Assert.True(message.Contains("too far", StringComparison.Ordinal) || message == DuckDbConnection.ReasonLost, message);
        }

        // The connections stay usable.
        Assert.Equal(1, connection.QueryScalar<int>("SELECT 1"));
        Assert.Equal(1, single.QueryScalar<int>("SELECT 1"));
    }

    [Fact]
    public void A_file_that_is_no_Parquet_is_named_in_the_error()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, "this is not Parquet at all");
        var error = Assert.Throws<DuckDbException>(() => connection.QueryRows("SELECT * FROM read_parquet(?)", file));
        Assert.Contains(file, error.Message, StringComparison.Ordinal);
        File.Delete(file);
    }

    [Fact]
    public async Task Cancelling_interrupts_a_running_statement()
    {
        using var cancel = new CancellationTokenSource();
        var running = Task.Run(() => connection.Execute("SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)", cancel.Token));
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running.WaitAsync(TimeSpan.FromMinutes(2)));
        Assert.Equal(1, connection.QueryScalar<int>("SELECT 1"));
    }

    [Fact]
    public void Cancelling_between_chunks_stops_the_reader()
    {
        using var cancel = new CancellationTokenSource();
        using var reader = connection.Query("SELECT i FROM range(100000000) t(i)", cancel.Token);
        Assert.True(reader.NextChunk());
        cancel.Cancel();

        Assert.ThrowsAny<OperationCanceledException>(() => reader.NextChunk());
    }

    [Fact]
    public void A_second_statement_beside_an_open_reader_is_refused_until_the_reader_is_disposed()
    {
        using (connection.Query("SELECT 1"))
        {
            Assert.Contains("open reader", Assert.Throws<InvalidOperationException>(() => connection.Execute("SELECT 1")).Message, StringComparison.Ordinal);
        }

        connection.Execute("SELECT 1");
    }

    [Fact]
    public void With_allowed_directories_SQL_reaches_no_other_file_and_changes_no_setting()
    {
        var folder = Directory.CreateTempSubdirectory("slipway").FullName;
        var outside = Path.GetTempFileName();
        File.WriteAllText(outside, "a\n1\n");
        File.WriteAllText(Path.Combine(folder, "inside.csv"), "a\n1\n");
        using var confined = DuckDbDatabase.OpenInMemory(new DuckDbOptions { AllowedDirectories = [folder] });
        using var confinedConnection = confined.Connect();

        Assert.Equal(1L, confinedConnection.QueryScalar<long>("SELECT count(*) FROM read_csv(?)", Path.Combine(folder, "inside.csv")));
        Assert.Throws<DuckDbException>(() => confinedConnection.QueryScalar<long>("SELECT count(*) FROM read_csv(?)", outside));
        Assert.Throws<DuckDbException>(() => confinedConnection.QueryScalar<long>("SELECT count(*) FROM read_csv(?)", Path.Combine(folder, "..", Path.GetFileName(outside))));
        Assert.Throws<DuckDbException>(() => confinedConnection.Execute("SET enable_external_access = true"));
        File.Delete(outside);
        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("plain", "\"plain\"")]
    [InlineData("with \" quote", "\"with \"\" quote\"")]
    public void Identifiers_are_quoted(string name, string expected) => Assert.Equal(expected, DuckDbIdentifier.Quote(name));

    [Fact]
    public void An_unknown_option_value_names_the_option()
    {
        var error = Assert.Throws<DuckDbException>(() => DuckDbDatabase.OpenInMemory(new DuckDbOptions { MemoryLimit = "plenty" }));
        Assert.Contains("memory_limit", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_database_file_keeps_its_rows()
    {
        var file = Path.Combine(Path.GetTempPath(), $"slipway-{Guid.NewGuid():N}.duckdb");
        using (var first = DuckDbDatabase.Open(file))
        using (var writer = first.Connect())
        {
            writer.Execute("CREATE TABLE t AS SELECT 7 AS n; INSERT INTO t VALUES (8)");
        }

        using (var second = DuckDbDatabase.Open(file, new DuckDbOptions { ReadOnly = true }))
        using (var reader = second.Connect())
        {
            Assert.Equal(15, reader.QueryScalar<int>("SELECT sum(n) FROM t"));
            Assert.Throws<DuckDbException>(() => reader.Execute("DELETE FROM t"));
        }

        File.Delete(file);
    }

    private static DateTimeOffset At(string text) => DateTimeOffset.Parse(text, CultureInfo.InvariantCulture);
}
