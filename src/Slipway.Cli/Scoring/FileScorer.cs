using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Contracts.Tracking;
using Slipway.Native.DuckDb;

namespace Slipway.Cli.Scoring;

/// <summary>What to score.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">A semantic version, a number, a stage or an alias such as <c>@champion</c>; null for production.</param>
/// <param name="Input">CSV or Parquet.</param>
/// <param name="Output">CSV or Parquet.</param>
internal sealed record ScoreJob(string Model, string? Version, string Input, string Output)
{
    /// <summary>Columns of a model's one table whose columns have no names; empty when they have.</summary>
    public IReadOnlyList<string> Columns { get; init; } = [];

    /// <summary>Whether rows that the model refuses are left without a prediction; otherwise the first one ends the job.</summary>
    public bool KeepErrors { get; init; }

    /// <summary>Whether a file at the output's place may be replaced.</summary>
    public bool Overwrite { get; init; }

    /// <summary>Whether parts of an earlier attempt are thrown away.</summary>
    public bool Restart { get; init; }

    /// <summary>Where the run is recorded.</summary>
    public string Experiment { get; init; } = "batch-scoring";

    /// <summary>Rows of a request.</summary>
    public int BlockRows { get; init; } = 8192;

    /// <summary>Rows after which a part is on disk: what a killed job does again.</summary>
    public int PartRows { get; init; } = 131_072;
}

/// <summary>What was scored.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">The one version that scored all rows.</param>
/// <param name="RunId">The run record.</param>
/// <param name="InputSha256">Digest of the input file.</param>
/// <param name="Output">The scored file.</param>
/// <param name="Rows">Rows of the file.</param>
/// <param name="FailedRows">Rows without a prediction.</param>
/// <param name="ErrorsFile">Their rows and reasons; null when there are none.</param>
/// <param name="ResumedRows">Rows that an earlier attempt had scored.</param>
/// <param name="Seconds">What this attempt took to score the others.</param>
/// <param name="RowsPerSecond">Of this attempt; 0 when it had nothing left to score.</param>
internal sealed record ScoreResult(
    string Model, string Version, string RunId, string InputSha256, string Output, long Rows, long FailedRows, string? ErrorsFile, long ResumedRows, double Seconds, double RowsPerSecond);

/// <summary>How far a job is: enough to go on after its process was killed.</summary>
internal sealed record ScoreState(string Model, string Version, string InputSha256, IReadOnlyList<string> Columns, string RunId);

/// <summary>
/// Scores a file: DuckDB reads it as a stream, the server scores blocks of rows with one version, and each part of the answer is a
/// file beside the output until all are there. Memory does not grow with the file.
/// </summary>
internal sealed class FileScorer(SlipwayClient client, ScoreJob job, TimeProvider clock, Action<string, long, long> progress)
{
    private const string Ours = "__slipway_";
    private const long BlockBytesMax = 16L << 20;
    private const int TriesMax = 6;

    // A value and its share of what is kept beside it; a wide table has fewer rows in a part, so that it takes no more memory.
    private const int CellBytes = 16;
    private const int PartBytes = 64 << 20;

    private readonly string _parts = job.Output + ".parts";

    /// <summary>Scores the whole file, or what an earlier attempt has left.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the file does not fit the model; the server's refusal.</exception>
    public async Task<ScoreResult> RunAsync(CancellationToken ct)
    {
        var (fromParquet, toParquet) = (IsParquet(job.Input, "INPUT"), IsParquet(job.Output, "OUTPUT"));
        if (!File.Exists(job.Input))
        {
            throw Invalid($"INPUT '{job.Input}' does not exist; name a CSV or Parquet file.");
        }

        if (Path.GetFullPath(job.Input) == Path.GetFullPath(job.Output))
        {
            throw Invalid("OUTPUT is the same file as INPUT; name another, so that the input stays as it is.");
        }

        if (Path.GetDirectoryName(Path.GetFullPath(job.Output)) is { } folder && !Directory.Exists(folder))
        {
            throw Invalid($"The folder of OUTPUT, {folder}, does not exist; make it first.");
        }

        if (job.Restart && Directory.Exists(_parts))
        {
            Directory.Delete(_parts, recursive: true);
        }

        // A folder of parts says that this file's job has not ended, whatever stands at its place.
        var known = ReadState();
        if (File.Exists(job.Output) && known is null && !job.Overwrite)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{job.Output}' exists already; name another OUTPUT or replace it with --overwrite.");
        }

        var sha256 = await DigestAsync(ct);
        var state = await ResolveAsync(known, sha256, ct);
        var contract = await client.GetAsync<InferenceContract>($"models/{Uri.EscapeDataString(state.Model)}/versions/{Uri.EscapeDataString(state.Version)}/contract", ct);

        // Two databases: the query over the file stays open to its end, and would keep every dropped part of its own database in memory.
        using var inputs = DuckDbDatabase.OpenInMemory(new DuckDbOptions { MemoryLimit = "256MB", Threads = 1, TempDirectory = Path.Combine(_parts, "spill-in") });
        using var outputs = DuckDbDatabase.OpenInMemory(new DuckDbOptions { MemoryLimit = "256MB", Threads = 1, TempDirectory = Path.Combine(_parts, "spill-out") });
        using var reading = inputs.Connect();
        using var writing = outputs.Connect();
        IReadOnlyList<TensorColumns> tensors;
        string source;
        long rows;
        try
        {
            (source, var columns) = Describe(reading, fromParquet, toParquet, contract);
            tensors = TensorColumns.Match(contract, columns, state.Columns);
            source = $"SELECT *, {string.Join(", ", tensors.SelectMany(tensor => tensor.Columns.Select(name => tensor.Sql(columns.First(column => column.Name == name)))).Select((sql, i) => $"{sql} AS {Ours}in_{i}"))} FROM {source}";
            reading.QueryRows($"DESCRIBE {source}", ct); // A nested column is found to be no number here, before anything is scored.
            rows = reading.QueryScalar<long>($"SELECT count(*) FROM ({source})", ct);
        }
        catch (DuckDbException e)
        {
            throw Invalid($"'{job.Input}' cannot be read as a table for {state.Model} {state.Version}: {e.Message.Split('\n')[0]}");
        }

        Directory.CreateDirectory(_parts);
        using var held = Hold();
        if (known is null)
        {
            await WriteStateAsync(state, ct);
        }

        await RecordStartAsync(state, rows, ct);
        try
        {
            var resumed = RowsDone(writing);
            var watch = Stopwatch.StartNew();
            await ScorePartsAsync(reading, writing, source, resumed, rows, tensors, contract, ct);
            var seconds = watch.Elapsed.TotalSeconds;
            var result = await MergeAsync(writing, state, toParquet, rows, resumed, seconds, ct);
            held.Dispose();
            Directory.Delete(_parts, recursive: true);
            return result;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            await RecordFailureAsync(state, e.Message);
            throw;
        }
    }

    private async Task<ScoreState> ResolveAsync(ScoreState? known, string sha256, CancellationToken ct)
    {
        if (known is not null)
        {
            var version = known.Model == job.Model && job.Version is { } asked
                ? (await VersionAsync(asked, ct)).Version : known.Version; // Production may have moved since: the file keeps its version.
            return known.Model == job.Model && known.Version == version && known.InputSha256 == sha256 && known.Columns.SequenceEqual(job.Columns)
                ? known
                : throw new SlipwayException(ErrorCode.FailedPrecondition,
                    $"'{_parts}' holds a part of another job: {known.Model} {known.Version} over a file with sha256 {known.InputSha256[..12]}…, not {job.Model} {version} over {sha256[..12]}…. Finish that one, or begin anew with --restart.");
        }

        var record = await VersionAsync(job.Version ?? "production", ct);
        return new ScoreState(job.Model, record.Version, sha256, job.Columns, Guid.NewGuid().ToString("N"));
    }

    private Task<ModelVersionRecord> VersionAsync(string reference, CancellationToken ct) =>
        client.GetAsync<ModelVersionRecord>($"models/{Uri.EscapeDataString(job.Model)}/versions/{Uri.EscapeDataString(reference)}", ct);

    // The table expression, the same for the count and for the rows, and its columns.
    private (string Source, IReadOnlyList<DuckDbColumn> Columns) Describe(DuckDbConnection connection, bool fromParquet, bool toParquet, InferenceContract contract)
    {
        var file = DuckDbLiteral.Quote(job.Input);
        var source = fromParquet ? $"read_parquet({file})"
            // A CSV's own spelling of its cells is kept where the output is CSV too.
            : !toParquet ? $"read_csv({file}, header=true, all_varchar=true)" : $"read_csv({file}, header=true, sample_size=-1)";
        var columns = ColumnsOf(source);
        if (!fromParquet && toParquet)
        {
            // Types are found once, in all rows; texts stay as they are written, such as 007.
            var texts = contract.RequestInputs.Where(input => input.Datatypes[0] == "BYTES").Select(input => input.Name)
                .Concat(contract.Features.Count > 0 ? [] : contract.Tensors.Where(tensor => tensor.Datatype == "BYTES").Select(tensor => tensor.Name)).ToHashSet(StringComparer.Ordinal);
            source = $"read_csv({file}, header=true, types={{{string.Join(", ", columns.Select(column => $"{DuckDbLiteral.Quote(column.Name)}: {DuckDbLiteral.Quote(texts.Contains(column.Name) ? "VARCHAR" : column.TypeName)}"))}}})";
            columns = ColumnsOf(source);
        }

        if (columns.FirstOrDefault(column => column.Name.StartsWith(Ours, StringComparison.OrdinalIgnoreCase) || column.Name.Equals("model_version", StringComparison.OrdinalIgnoreCase)
            || column.Name.Equals("prediction", StringComparison.OrdinalIgnoreCase) || column.Name.StartsWith("prediction_", StringComparison.OrdinalIgnoreCase)) is { } taken)
        {
            throw Invalid($"The file has a column '{taken.Name}' already, where the scores would stand; rename it.");
        }

        return (source, columns);

        IReadOnlyList<DuckDbColumn> ColumnsOf(string table)
        {
            using var reader = connection.Query($"SELECT * FROM {table} LIMIT 0");
            return reader.Columns;
        }
    }

    private async Task ScorePartsAsync(
        DuckDbConnection reading, DuckDbConnection writing, string source, long done, long rows, IReadOnlyList<TensorColumns> tensors, InferenceContract contract, CancellationToken ct)
    {
        var part = PartFiles().Count;
        progress("Score", done, rows);
        using var reader = reading.Query($"{source} OFFSET {done.ToString(CultureInfo.InvariantCulture)}", ct);
        var firstInput = reader.Columns.Count - tensors.Sum(tensor => tensor.Columns.Count);
        var partRows = Math.Min(job.PartRows, RowsAtOnce(reader.Columns.Count));
        var more = reader.NextChunk();
        while (more)
        {
            writing.Execute($"CREATE OR REPLACE TABLE part_in ({string.Join(", ", reader.Columns.Select(column => $"{DuckDbIdentifier.Quote(column.Name)} {column.TypeName}"))})");
            var (refused, answers) = (new SortedDictionary<int, string>(), new List<ScoredRows>());
            var inPart = 0;
            using (var appender = writing.Append("part_in"))
            {
                var block = new RowBlock(tensors);
                var sent = Task.CompletedTask;
                do
                {
                    appender.AppendChunk(reader);
                    Take(reader, firstInput, tensors, block, inPart, done, refused);
                    inPart += reader.RowCount;
                    if (block.Rows.Count >= job.BlockRows || block.SizeBytes >= BlockBytesMax)
                    {
                        // The next block is read while this one is scored.
                        await sent;
                        progress("Score", done + inPart - block.Rows.Count, rows);
                        sent = ScoreAsync(contract.Path, block, 0, block.Rows.Count, done, refused, answers, ct);
                        block = new RowBlock(tensors);
                    }

                    more = reader.NextChunk();
                }
                while (more && inPart < partRows);

                await sent;
                await ScoreAsync(contract.Path, block, 0, block.Rows.Count, done, refused, answers, ct);
                appender.Close();
            }

            WritePart(writing, part++, inPart, done, refused, answers, contract.Version);
            done += inPart;
            progress("Score", done, rows);
        }
    }

    // Rows that cannot be sent are refused here, with the column's name.
    private void Take(DuckDbReader reader, int firstInput, IReadOnlyList<TensorColumns> tensors, RowBlock block, int inPart, long done, SortedDictionary<int, string> refused)
    {
        Span<int> starts = stackalloc int[tensors.Count <= 256 ? tensors.Count : 0];
        starts = tensors.Count <= 256 ? starts : new int[tensors.Count];
        for (var row = 0; row < reader.RowCount; row++)
        {
            string? reason = null;
            var column = firstInput;
            for (var i = 0; i < tensors.Count; i++)
            {
                starts[i] = block.Data(i).Length;
                foreach (var name in tensors[i].Columns)
                {
                    if (reason is null && (reader.IsNull(column, row) || !tensors[i].TryWrite(reader, column, row, block.Data(i))))
                    {
                        reason = reader.Value(reader.Ordinal(name), row) is { } value
                            ? string.Create(CultureInfo.InvariantCulture, $"column '{name}' is '{value}', not {tensors[i].Wanted}") : $"column '{name}' is empty, not {tensors[i].Wanted}";
                    }

                    column++;
                }
            }

            if (reason is null)
            {
                block.EndRow(inPart + row, starts);
                continue;
            }

            for (var i = 0; i < tensors.Count; i++)
            {
                block.Data(i).CutTo(starts[i]);
            }

            Refuse(refused, inPart + row, done, reason);
        }
    }

    // A refused block is halved until the row is found that it was refused for.
    private async Task ScoreAsync(string path, RowBlock block, int from, int count, long done, SortedDictionary<int, string> refused, List<ScoredRows> answers, CancellationToken ct)
    {
        if (count == 0)
        {
            return;
        }

        var reply = await SendAsync(path, block.Request(from, count), ct);
        if (reply.Refusal is null)
        {
            answers.Add(ScoredRows.Read(reply, count));
        }
        else if (reply.Status is not (400 or 413 or 422 or 500))
        {
            throw new SlipwayException(
                reply.Status switch { 401 => ErrorCode.Unauthenticated, 403 => ErrorCode.PermissionDenied, 404 => ErrorCode.NotFound, _ => ErrorCode.Unavailable }, reply.Refusal);
        }
        else if (count > 1)
        {
            await ScoreAsync(path, block, from, count / 2, done, refused, answers, ct);
            await ScoreAsync(path, block, from + (count / 2), count - (count / 2), done, refused, answers, ct);
        }
        else
        {
            Refuse(refused, block.Rows[from], done, reply.Refusal);
        }
    }

    private async Task<InferenceReply> SendAsync(string path, (byte[] Body, int JsonLength) request, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            TimeSpan wait;
            try
            {
                var reply = await client.SendInferenceAsync(path, request.Body, request.JsonLength, ct);
                if (reply.Status is not (429 or 502 or 503 or 504) || attempt == TriesMax)
                {
                    return reply;
                }

                wait = reply.RetryAfter ?? TimeSpan.FromSeconds(1 << (attempt - 1));
            }
            catch (ServerUnreachableException) when (attempt < TriesMax)
            {
                wait = TimeSpan.FromSeconds(1 << (attempt - 1)); // A server that is started anew is back soon; hours of scoring are not lost for it.
            }

            await Task.Delay(wait, clock, ct);
        }
    }

    private void Refuse(SortedDictionary<int, string> refused, int inPart, long done, string reason)
    {
        if (!job.KeepErrors)
        {
            throw Invalid(string.Create(CultureInfo.InvariantCulture, $"Row {done + inPart + 1}: {reason.TrimEnd('.')}. Correct the file, or score the other rows with --on-error keep."));
        }

        lock (refused) // Rows are read while others are scored.
        {
            refused[inPart] = reason;
        }
    }

    private void WritePart(DuckDbConnection connection, int number, int rows, long done, SortedDictionary<int, string> refused, List<ScoredRows> answers, string version)
    {
        var columns = answers.Count > 0 ? answers[0].Columns() : [];
        connection.Execute($"CREATE OR REPLACE TABLE part_out ({string.Concat(columns.Select(column => $"{DuckDbIdentifier.Quote(column.Name)} {column.SqlType}, "))}model_version VARCHAR, {Ours}row BIGINT, {Ours}error VARCHAR)");
        using (var appender = connection.Append("part_out"))
        {
            var (answer, at) = (0, 0);
            var positions = new int[answers.Count > 0 ? answers[0].Outputs.Count : 0];
            for (var row = 0; row < rows; row++)
            {
                var reason = refused.GetValueOrDefault(row);
                if (reason is null)
                {
                    if (at == answers[answer].Rows)
                    {
                        (answer, at) = (answer + 1, 0);
                        Array.Clear(positions);
                    }

                    answers[answer].Append(appender, at++, positions);
                }
                else
                {
                    for (var i = 0; i < columns.Count; i++)
                    {
                        appender.AppendNull();
                    }
                }

                appender.AppendString(reason is null ? version : null);
                appender.AppendInt64(done + row + 1);
                appender.AppendString(reason);
                appender.EndRow();
            }

            appender.Close();
        }

        // Under its own name only when it is whole: a part that is there is done.
        var path = Path.Combine(_parts, string.Create(CultureInfo.InvariantCulture, $"part-{number:D8}.parquet"));
        connection.Execute($"COPY (SELECT COLUMNS(name -> NOT starts_with(name, '{Ours}in_')) FROM part_in POSITIONAL JOIN part_out) TO {DuckDbLiteral.Quote(path + ".new")} (FORMAT parquet)");
        connection.Execute("DROP TABLE part_in; DROP TABLE part_out");
        Flush(path + ".new");
        File.Move(path + ".new", path);
    }

    private async Task<ScoreResult> MergeAsync(DuckDbConnection connection, ScoreState state, bool toParquet, long rows, long resumed, double seconds, CancellationToken ct)
    {
        progress("Write", rows, rows);
        var files = PartFiles();
        var (scored, failed) = (0L, 0L);
        var errors = job.Output + ".errors.csv";
        var output = Path.Combine(_parts, "output");
        if (files.Count == 0)
        {
            throw Invalid($"'{job.Input}' has no rows; there is nothing to score.");
        }

        var parts = $"read_parquet([{string.Join(", ", files.Select(DuckDbLiteral.Quote))}], union_by_name=true)";
        int columns;
        using (var reader = connection.Query($"SELECT * FROM {parts} LIMIT 0"))
        {
            columns = reader.Columns.Count;
        }

        scored = connection.QueryScalar<long>($"SELECT count(*) FROM {parts} WHERE {Ours}error IS NULL", ct);
        failed = connection.QueryScalar<long>($"SELECT count(*) FROM {parts} WHERE {Ours}error IS NOT NULL", ct);
        if (scored + failed != rows)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"The parts hold {scored + failed} rows and the file {rows}; begin anew with --restart.");
        }

        connection.Execute($"COPY (SELECT * EXCLUDE ({Ours}row, {Ours}error) FROM {parts}) TO {DuckDbLiteral.Quote(output)} ({(toParquet ? string.Create(CultureInfo.InvariantCulture, $"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {RowsAtOnce(columns)}") : "FORMAT csv, HEADER")})", ct);
        if (failed > 0)
        {
            connection.Execute($"COPY (SELECT {Ours}row AS \"row\", {Ours}error AS reason FROM {parts} WHERE {Ours}error IS NOT NULL) TO {DuckDbLiteral.Quote(output + ".errors")} (FORMAT csv, HEADER)", ct);
            File.Move(output + ".errors", errors, overwrite: true);
        }
        else
        {
            File.Delete(errors);
        }

        Flush(output);
        File.Move(output, job.Output, overwrite: true);
        var result = new ScoreResult(
            state.Model, state.Version, state.RunId, state.InputSha256, job.Output, rows, failed, failed > 0 ? errors : null, resumed, seconds, rows > resumed ? (rows - resumed) / seconds : 0);
        await RecordEndAsync(result, ct);
        return result;
    }

    private async Task RecordStartAsync(ScoreState state, long rows, CancellationToken ct)
    {
        var name = Path.GetFileName(job.Input);
        await client.PutRunAsync(state.RunId, new PutRun
        {
            ExperimentName = job.Experiment,
            Name = $"{state.Model} {state.Version} over {name}",
            Status = RunStatus.Running,
            Parameters = new Dictionary<string, string>
            {
                ["model"] = state.Model,
                ["version"] = state.Version,
                ["input"] = name,
                ["input_sha256"] = state.InputSha256,
                ["rows"] = rows.ToString(CultureInfo.InvariantCulture),
            },
            Tags = new Dictionary<string, string> { ["slipway.scored_model"] = $"{state.Model}@{state.Version}" },
        }, ct);
        await client.AddInputsAsync(state.RunId, [new RunInput(name, state.InputSha256, Path.GetFullPath(job.Input), "scoring", rows, "file")], ct);
    }

    private async Task RecordEndAsync(ScoreResult result, CancellationToken ct)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        await client.AddMetricsAsync(
            result.RunId,
            [new MetricPoint("rows", result.Rows, now, 0), new MetricPoint("failed_rows", result.FailedRows, now, 0), new MetricPoint("rows_per_second", result.RowsPerSecond, now, 0)], ct);
        await client.PutRunAsync(result.RunId, new PutRun { Status = RunStatus.Finished, Tags = new Dictionary<string, string> { ["slipway.scored_output"] = Path.GetFullPath(result.Output) } }, ct);
    }

    private async Task RecordFailureAsync(ScoreState state, string message)
    {
        try
        {
            await client.PutRunAsync(state.RunId, new PutRun { Status = RunStatus.Failed, Tags = new Dictionary<string, string> { [RunRecord.FailureReasonTag] = message } }, CancellationToken.None);
        }
        catch (Exception e) when (e is SlipwayException or ServerUnreachableException)
        {
            // The first failure is the one to tell.
        }
    }

    private long RowsDone(DuckDbConnection connection)
    {
        // What a killed process was writing.
        foreach (var half in Directory.EnumerateFiles(_parts, "*.new"))
        {
            File.Delete(half);
        }

        var files = PartFiles();
        return files.Count == 0 ? 0 : connection.QueryScalar<long>($"SELECT count(*) FROM read_parquet([{string.Join(", ", files.Select(DuckDbLiteral.Quote))}], union_by_name=true)");
    }

    private List<string> PartFiles() => [.. Directory.EnumerateFiles(_parts, "part-*.parquet").Order(StringComparer.Ordinal)];

    private FileStream Hold()
    {
        try
        {
            return new FileStream(Path.Combine(_parts, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Another process is scoring into '{job.Output}'; wait for it, or name another OUTPUT.", e);
        }
    }

    private ScoreState? ReadState()
    {
        var path = Path.Combine(_parts, "state.json");
        try
        {
            return File.Exists(path) ? JsonSerializer.Deserialize<ScoreState>(File.ReadAllBytes(path), JsonDefaults.Options) : null;
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' cannot be read; begin anew with --restart.", e);
        }
    }

    private async Task WriteStateAsync(ScoreState state, CancellationToken ct)
    {
        var path = Path.Combine(_parts, "state.json");
        await File.WriteAllBytesAsync(path + ".new", JsonSerializer.SerializeToUtf8Bytes(state, JsonDefaults.Options), ct);
        Flush(path + ".new");
        File.Move(path + ".new", path, overwrite: true);
    }

    private async Task<string> DigestAsync(CancellationToken ct)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var file = new FileStream(job.Input, new FileStreamOptions { BufferSize = 0, Options = FileOptions.SequentialScan });
        var buffer = new byte[1 << 20];
        long at = 0;
        int read;
        while ((read = await file.ReadAsync(buffer, ct)) > 0)
        {
            hash.AppendData(buffer.AsSpan(0, read));
            progress("Hash", at += read, file.Length);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static int RowsAtOnce(int columns) => Math.Clamp(PartBytes / (CellBytes * columns), 2048, 131_072);

    // Renamed only when its bytes are on the disk: a name must not outlive its content.
    private static void Flush(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        file.Flush(flushToDisk: true);
    }

    private static bool IsParquet(string path, string what) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".parquet" => true,
        ".csv" => false,
        _ => throw Invalid($"{what} '{path}' ends neither in .csv nor in .parquet; name a file that does."),
    };

    private static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);
}
