using Slipway.Contracts.Audit;

namespace Slipway.Storage.Audit;

/// <summary>Recounts a trail: the chain row by row, the kept head, and every signed checkpoint.</summary>
internal sealed class AuditVerifier(IAuditSource source)
{
    private const int ReportRows = 10_000;

    /// <summary>Lines of checkpoint files that stand outside the trail's database.</summary>
    public IEnumerable<string> FileLines { get; init; } = [];

    /// <summary>Keys that the caller trusts, as base64; null for all on record.</summary>
    public IReadOnlyList<string>? TrustedKeys { get; init; }

    /// <summary>Checks everything.</summary>
    /// <param name="progress">Told the rows read and the rows there are, now and then.</param>
    /// <param name="cancellationToken">Interrupts between rows.</param>
    public AuditVerification Run(Action<long, long> progress, CancellationToken cancellationToken)
    {
        // Before the rows: whatever was signed by now must be found among them.
        var stored = source.Checkpoints();
        var (inFile, fileKeys, faults) = AuditSeal.Read(FileLines);
        var keys = Trusted([.. source.Keys(), .. fileKeys]);
        var problems = faults.ToList();
        var (signed, ofOthers) = Signed([.. stored, .. inFile], keys, problems);
        problems.AddRange(inFile.Except(stored).Where(signed.Contains).Select(checkpoint => $"the checkpoint of row {checkpoint.Seq} stands in the file, but was removed from the database"));
        if (TrustedKeys is not null && signed.Count == 0)
        {
            problems.Add("no checkpoint is signed by the key that was named, or by one that it vouches for");
        }

        var walk = new Walk(signed);
        var (chain, of, fault) = (new AuditChain(), source.Estimate(), ((long Seq, string Reason)?)null);
        source.Rows(row =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            fault = chain.Take(row);
            if (fault is null && chain.Rows % ReportRows == 0)
            {
                progress(chain.Rows, Math.Max(of, chain.Rows));
            }

            return fault is null && walk.Pass(chain);
        });
        fault ??= walk.Fault ?? HeadFault(chain) ?? walk.Missing(chain);
        progress(chain.Rows, Math.Max(of, chain.Rows));
        return new AuditVerification(fault is { } bad ? Math.Max(0, bad.Seq - 1) : chain.Rows, fault?.Seq, fault?.Reason)
        {
            CheckpointsHeld = walk.Held.Count,
            CheckpointsOfOtherKeys = ofOthers,
            CheckpointFaults = problems.Count == 0 ? (IReadOnlyList<string>)[] : problems,
            LastCheckpoint = walk.Held.LastOrDefault(),
        };
    }

    private (long Seq, string Reason)? HeadFault(AuditChain chain)
    {
        var head = source.Head();
        return head == (chain.Rows, chain.Hash) ? null
            : head.Seq > chain.Rows ? (chain.Rows + 1, $"rows {chain.Rows + 1} to {head.Seq} are missing")
            : (chain.Rows + 1, "the kept head names another row as the newest");
    }

    // A key vouched for by a trusted key is trusted, and so on.
    private Dictionary<string, string> Trusted(IReadOnlyList<AuditPublicKey> known)
    {
        if (TrustedKeys is null)
        {
            return known.Where(key => AuditSigningKey.IsKey(key.PublicKey) && AuditSigningKey.IdOf(key.PublicKey) == key.KeyId)
                .DistinctBy(key => key.KeyId).ToDictionary(key => key.KeyId, key => key.PublicKey);
        }

        var trusted = TrustedKeys.Distinct().ToDictionary(AuditSigningKey.IdOf, key => key);
        bool Vouched(AuditPublicKey key) => !trusted.ContainsKey(key.KeyId)
            && key is { EndorsedBy: { } by, Endorsement: { } endorsement } && trusted.TryGetValue(by, out var voucher)
            && AuditSigningKey.Verify(voucher, AuditSeal.Text(key), endorsement)
            && AuditSigningKey.IsKey(key.PublicKey) && AuditSigningKey.IdOf(key.PublicKey) == key.KeyId;
        while (known.FirstOrDefault(Vouched) is { } next)
        {
            trusted.Add(next.KeyId, next.PublicKey);
        }

        return trusted;
    }

    private static (List<AuditCheckpoint> Signed, int OfOthers) Signed(IReadOnlyList<AuditCheckpoint> checkpoints, Dictionary<string, string> keys, List<string> problems)
    {
        var (signed, ofOthers) = (new List<AuditCheckpoint>(), 0);
        foreach (var checkpoint in checkpoints.Distinct().OrderBy(checkpoint => checkpoint.Seq))
        {
            if (!keys.TryGetValue(checkpoint.KeyId, out var key))
            {
                ofOthers++;
            }
            else if (AuditSigningKey.Verify(key, AuditSeal.Text(checkpoint), checkpoint.Signature))
            {
                signed.Add(checkpoint);
            }
            else
            {
                problems.Add($"the signature of the checkpoint of row {checkpoint.Seq} does not hold");
            }
        }

        return (signed, ofOthers);
    }

    // Compares the chain with what was signed, on the way past.
    private sealed class Walk(List<AuditCheckpoint> signed)
    {
        private int _next;

        public List<AuditCheckpoint> Held { get; } = [];

        public (long Seq, string Reason)? Fault { get; private set; }

        public bool Pass(AuditChain chain)
        {
            for (; _next < signed.Count && signed[_next].Seq <= chain.Rows; _next++)
            {
                var checkpoint = signed[_next];
                if (checkpoint.Seq != chain.Rows || checkpoint.Hash != chain.Hash || checkpoint.Count != chain.Rows)
                {
                    var first = (Held.LastOrDefault()?.Seq ?? 0) + 1;
                    Fault = (first, $"rows {first} to {checkpoint.Seq} are not those that were signed at {checkpoint.Time.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC: one or more of them were written anew, with all hashes after it");
                    return false;
                }

                Held.Add(checkpoint);
            }

            return true;
        }

        public (long Seq, string Reason)? Missing(AuditChain chain) => _next == signed.Count ? null
            : (chain.Rows + 1, $"rows {chain.Rows + 1} to {signed[^1].Seq} are missing: row {signed[^1].Seq} was there when it was signed at {signed[^1].Time.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC");
    }
}
