using FsCheck;
using FsCheck.Fluent;
using Slipway.Contracts.Audit;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Storage;

/// <summary>Random tampering with a trail that was signed at some rows: what the chain finds, what only a checkpoint finds, and what neither can.</summary>
[Trait("database", "none"), Trait("capability", "GOV-01")]
public sealed class AuditTamperingTests
{
    private const int Rows = 60;

    // Rows 1 to 40 are covered; 41 to 60 came after the last checkpoint.
    private static readonly int[] SignedRows = [10, 25, 40];

    private static readonly AuditSigningKey Key = AuditSigningKey.Make();
    private static readonly List<AuditEvent> Honest = MakeRows();
    private static readonly List<AuditCheckpoint> Checkpoints = [.. SignedRows.Select(Sign)];

    private static readonly string[] Columns =
        ["seq", "at_ms", "actor", "action", "subject_kind", "subject_id", "reason", "before_json", "after_json", "request_id", "previous_hash", "hash"];

    [Fact]
    public void The_honest_trail_holds_and_agrees_with_every_checkpoint()
    {
        var found = Verify(Honest);

        Assert.True(found.Passed);
        Assert.Equal((60, 3, 40, 20), (found.Events, found.CheckpointsHeld, found.LastCheckpoint!.Seq, found.EventsAfterCheckpoint));
    }

    [Fact]
    public void A_change_of_one_character_of_any_column_of_any_row_names_that_row() => Check(
        from row in Gen.Choose(1, Rows)
        from column in Gen.Elements(Columns)
        from place in Gen.Choose(0, 1000)
        from to in Gen.Choose(1, 1000)
        select (row, column, place, to),
        change =>
        {
            var trail = Honest.ToList();
            trail[change.row - 1] = Changed(trail[change.row - 1], change.column, change.place, change.to);
            // A row that was given another number leaves a gap behind, unless it now stands before the first.
            var first = change.column == "seq" && trail[change.row - 1].Seq < 1 ? trail[change.row - 1].Seq
                : change.column == "seq" ? Math.Min(change.row, trail[change.row - 1].Seq) : change.row;
            var found = Verify(trail);
            // Where two rows have one number, the order between them is the reader's: the other one may come first.
            return found.BrokenAtSeq == first || (change.column == "seq" && found.BrokenAtSeq is { } at && at >= first && at <= change.row);
        });

    [Fact]
    public void Any_two_rows_that_change_places_name_the_earlier_place() => Check(
        from a in Gen.Choose(1, Rows - 1)
        from b in Gen.Choose(a + 1, Rows)
        select (a, b),
        swap =>
        {
            var trail = Honest.ToList();
            (trail[swap.a - 1], trail[swap.b - 1]) = (Honest[swap.b - 1] with { Seq = swap.a }, Honest[swap.a - 1] with { Seq = swap.b });
            return Verify(trail).BrokenAtSeq == swap.a;
        });

    [Fact]
    public void Any_range_that_is_removed_names_its_first_row() => Check(
        from a in Gen.Choose(1, Rows)
        from b in Gen.Choose(a, Rows)
        select (a, b),
        range => Verify([.. Honest.Where(row => row.Seq < range.a || row.Seq > range.b)]).BrokenAtSeq == range.a);

    [Fact]
    public void Any_row_that_is_put_in_twice_is_named() => Check(
        from row in Gen.Choose(1, Rows)
        from at in Gen.Choose(0, Rows)
        from number in Gen.Elements(true, false)
        select (row, at, number),
        copy =>
        {
            var trail = Honest.ToList();
            var twin = copy.number ? Honest[copy.row - 1] : Honest[copy.row - 1] with { Seq = copy.at };
            trail.Add(twin);
            return Verify([.. trail.OrderBy(row => row.Seq)]).BrokenAtSeq == twin.Seq;
        });

    [Fact]
    public void An_end_that_is_cut_off_with_the_head_made_to_fit_is_found_by_the_checkpoints_as_far_as_they_reach() => Check(
        Gen.Choose(0, Rows - 1),
        kept =>
        {
            var trail = Honest.Take(kept).ToList();
            var withoutCheckpoints = Verify(trail, checkpoints: [], head: HeadOf(trail));
            var found = Verify(trail, head: HeadOf(trail));
            // The chain alone cannot know that there was more; rows after the last checkpoint are beyond what was signed.
            return withoutCheckpoints.Passed && (kept < 40 ? found.BrokenAtSeq == kept + 1 : found.Passed && found.CheckpointsHeld == 3);
        });

    [Fact]
    public void A_chain_that_is_written_anew_from_a_changed_row_on_is_found_by_the_checkpoints_as_far_as_they_reach() => Check(
        from row in Gen.Choose(1, Rows)
        from column in Gen.Elements("at_ms", "actor", "action", "subject_kind", "subject_id", "reason", "before_json", "after_json", "request_id")
        from place in Gen.Choose(0, 1000)
        from to in Gen.Choose(1, 1000)
        select (row, column, place, to),
        change =>
        {
            var trail = Honest.ToList();
            trail[change.row - 1] = Changed(trail[change.row - 1], change.column, change.place, change.to);
            Rehash(trail);
            var withoutCheckpoints = Verify(trail, checkpoints: [], head: HeadOf(trail));
            var found = Verify(trail, head: HeadOf(trail));
            var before = SignedRows.Where(row => row < change.row).DefaultIfEmpty(0).Max();
            // Between two checkpoints nobody can say which row was changed: the first that may have been is named, and the reason gives the range.
            return withoutCheckpoints.Passed && (change.row <= 40
                ? found.BrokenAtSeq == before + 1 && found.Reason!.Contains($"rows {before + 1} to {SignedRows.First(row => row >= change.row)}", StringComparison.Ordinal)
                : found.Passed);
        });

    [Fact]
    public void A_checkpoint_that_was_changed_itself_is_found_by_its_signature() => Check(
        from index in Gen.Choose(0, 2)
        from field in Gen.Choose(0, 4)
        select (index, field),
        change =>
        {
            var checkpoint = Checkpoints[change.index];
            var changed = change.field switch
            {
                0 => checkpoint with { Seq = checkpoint.Seq + 1 },
                1 => checkpoint with { Hash = Honest[5].Hash },
                2 => checkpoint with { Count = checkpoint.Count - 1 },
                3 => checkpoint with { Time = checkpoint.Time.AddMilliseconds(1) },
                _ => checkpoint with { Signature = Convert.ToBase64String(new byte[64]) },
            };
            var found = Verify(Honest, [.. Checkpoints.Select(known => known == checkpoint ? changed : known)]);
            return !found.Passed && found.BrokenAtSeq is null && found.CheckpointFaults.Single().Contains($"row {changed.Seq}", StringComparison.Ordinal) && found.CheckpointsHeld == 2;
        });

    [Fact]
    public void A_trail_and_checkpoints_forged_together_with_another_key_do_not_pass_for_whoever_kept_the_public_key()
    {
        var trail = Honest.ToList();
        trail[4] = trail[4] with { Actor = "nobody" };
        Rehash(trail);
        var forger = AuditSigningKey.Make();
        List<AuditCheckpoint> forged = [.. SignedRows.Select(row => Sign(row, trail, forger))];
        List<AuditPublicKey> keys = [new(forger.KeyId, forger.PublicKey, DateTimeOffset.UnixEpoch)];
        var source = new MemoryTrail(trail, forged, keys, HeadOf(trail));

        Assert.True(new AuditVerifier(source).Run((_, _) => { }, default).Passed);
        var found = new AuditVerifier(source) { TrustedKeys = [Key.PublicKey] }.Run((_, _) => { }, default);

        Assert.False(found.Passed);
        Assert.Equal((0, 3), (found.CheckpointsHeld, found.CheckpointsOfOtherKeys));
        Assert.Contains("no checkpoint is signed by the key that was named", Assert.Single(found.CheckpointFaults), StringComparison.Ordinal);
    }

    private static void Check<T>(Gen<T> cases, Func<T, bool> holds) =>
        Prop.ForAll(cases.ToArbitrary(), holds).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));

    private static AuditVerification Verify(List<AuditEvent> trail, IReadOnlyList<AuditCheckpoint>? checkpoints = null, (long, string)? head = null) =>
        new AuditVerifier(new MemoryTrail([.. trail.OrderBy(row => row.Seq)], checkpoints ?? Checkpoints, [new(Key.KeyId, Key.PublicKey, DateTimeOffset.UnixEpoch)], head ?? HeadOf(Honest)))
            .Run((_, _) => { }, default);

    private static (long, string) HeadOf(List<AuditEvent> trail) => trail.Count == 0 ? (0, AuditChain.Genesis) : (trail[^1].Seq, trail[^1].Hash);

    private static AuditEvent Changed(AuditEvent row, string column, int place, int to) => column switch
    {
        "seq" => row with { Seq = row.Seq + (to % 2 == 0 ? to : -to) },
        "at_ms" => row with { AtMs = row.AtMs ^ (1L << (to % 40)) },
        "actor" => row with { Actor = Changed(row.Actor, place, to)! },
        "action" => row with { Action = Changed(row.Action, place, to)! },
        "subject_kind" => row with { SubjectKind = Changed(row.SubjectKind, place, to)! },
        "subject_id" => row with { SubjectId = Changed(row.SubjectId, place, to)! },
        "reason" => row with { Reason = Changed(row.Reason, place, to) },
        "before_json" => row with { BeforeJson = Changed(row.BeforeJson, place, to) },
        "after_json" => row with { AfterJson = Changed(row.AfterJson, place, to) },
        "request_id" => row with { RequestId = Changed(row.RequestId, place, to) },
        "previous_hash" => row with { PreviousHash = Changed(row.PreviousHash, place, to)! },
        _ => row with { Hash = Changed(row.Hash, place, to)! },
    };

    // Another character at one place; a missing or empty text becomes one, and a text of one character may go missing.
    private static string? Changed(string? text, int place, int to)
    {
        if (string.IsNullOrEmpty(text))
        {
            return text is null ? "" : null;
        }

        var at = place % text.Length;
        return $"{text[..at]}{(char)(text[at] ^ (1 << (to % 5)))}{text[(at + 1)..]}";
    }

    private static List<AuditEvent> MakeRows()
    {
        var rows = Enumerable.Range(1, Rows).Select(n => new AuditEvent(
            n, 1_700_000_000_000 + n * 977, $"user-{n % 5}", n % 4 == 0 ? "model_version.promoted" : "run.created", "model_version", $"flights@1.{n}.0", n % 3 == 0 ? null : "weil es geht: größer",
            n % 2 == 0 ? null : """{"stage":"staging"}""", n % 7 == 0 ? null : $$"""{"n":{{n}}}""", n % 5 == 0 ? "" : $"request-{n}", "", "")).ToList();
        Rehash(rows);
        return rows;
    }

    private static void Rehash(List<AuditEvent> rows)
    {
        var previous = AuditChain.Genesis;
        for (var i = 0; i < rows.Count; i++)
        {
            var row = rows[i] with { PreviousHash = previous };
            rows[i] = row with { Hash = previous = AuditHash.Of(row) };
        }
    }

    private static AuditCheckpoint Sign(int row) => Sign(row, Honest, Key);

    private static AuditCheckpoint Sign(int row, List<AuditEvent> trail, AuditSigningKey key)
    {
        var checkpoint = new AuditCheckpoint(row, trail[row - 1].Hash, row, DateTimeOffset.FromUnixTimeMilliseconds(trail[row - 1].AtMs), key.KeyId, "");
        return checkpoint with { Signature = key.Sign(AuditSeal.Text(checkpoint)) };
    }

    private sealed class MemoryTrail(List<AuditEvent> rows, IReadOnlyList<AuditCheckpoint> checkpoints, IReadOnlyList<AuditPublicKey> keys, (long, string) head) : IAuditSource
    {
        public IReadOnlyList<AuditCheckpoint> Checkpoints() => checkpoints;

        public IReadOnlyList<AuditPublicKey> Keys() => keys;

        public long Estimate() => rows.Count;

        public (long Seq, string Hash) Head() => head;

        public void Rows(Func<IAuditRow, bool> take) => _ = rows.TrueForAll(row => take(new Row(row)));
    }

    private sealed class Row(AuditEvent row) : IAuditRow
    {
        public long Integer(int column) => column == 0 ? row.Seq : row.AtMs;

        public bool IsNull(int column) => Text(column) is null;

        public ReadOnlySpan<byte> Utf8(int column) => System.Text.Encoding.UTF8.GetBytes(Text(column)!);

        private string? Text(int column) => column switch
        {
            2 => row.Actor,
            3 => row.Action,
            4 => row.SubjectKind,
            5 => row.SubjectId,
            6 => row.Reason,
            7 => row.BeforeJson,
            8 => row.AfterJson,
            9 => row.RequestId,
            10 => row.PreviousHash,
            _ => row.Hash,
        };
    }
}
