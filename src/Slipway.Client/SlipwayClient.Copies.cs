using System.Security.Cryptography;
using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Client;

public sealed partial class SlipwayClient
{
    /// <summary>
    /// Copies a version with all its blobs and its provenance to the server of another environment, which checks every digest and registers
    /// it under the same number; then both ends note the copy. What arrived in an earlier attempt is not sent again.
    /// </summary>
    /// <param name="target">The other server.</param>
    /// <param name="model">Model.</param>
    /// <param name="version">Version, number, stage or alias at this server.</param>
    /// <param name="reason">Why; kept at both ends.</param>
    /// <param name="sent">Told each blob that was sent; null to tell nobody.</param>
    /// <param name="cancellationToken">What has arrived stays, for the next attempt.</param>
    /// <exception cref="SlipwayException">Either server's refusal.</exception>
    public async Task<ImportedVersion> CopyVersionAsync(
        SlipwayClient target, string model, string version, string reason, IProgress<ArtifactFile>? sent, CancellationToken cancellationToken)
    {
        var path = $"models/{Uri.EscapeDataString(model)}/versions/{Uri.EscapeDataString(version)}";
        var passport = await GetAsync<VersionPassport>($"{path}/passport", cancellationToken);
        path = $"models/{Uri.EscapeDataString(model)}/versions/{passport.Version.Version}"; // An alias may move meanwhile.
        var missing = await target.PostAsync<MissingBlobs>(
            "registry/imports/blobs", new FindBlobs([.. passport.Blobs.Select(blob => blob.Sha256).Distinct(StringComparer.Ordinal)]), cancellationToken);
        foreach (var blob in passport.Blobs.Where(blob => missing.Missing.Contains(blob.Sha256)).DistinctBy(blob => blob.Sha256))
        {
            await using var content = await OpenBlobAsync(path, blob.Sha256, cancellationToken);
            await target.UploadAsync<ArtifactFile>($"registry/imports/blobs/{blob.Sha256}", content, null, cancellationToken);
            sent?.Report(blob);
        }

        var imported = await target.PostAsync<ImportedVersion>("registry/imports", new ImportVersion(Address(Server), passport, reason), cancellationToken);
        await PostAsync<VersionCopy>($"{path}/copies", new LinkCopy(Address(target.Server), imported.Manifest, reason), cancellationToken);
        return imported;

        static string Address(Uri server) => server.GetLeftPart(UriPartial.Authority);
    }

    /// <summary>Fetches a file of a version, its content checked against its digest.</summary>
    /// <param name="model">The model.</param>
    /// <param name="version">The semantic version.</param>
    /// <param name="sha256">One of the blobs of the version's passport.</param>
    /// <param name="into">Gets the content; what was written is to be thrown away when this throws.</param>
    /// <param name="cancellationToken">Ends the transfer.</param>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable: what arrived is something else.</exception>
    public async Task DownloadBlobAsync(string model, string version, string sha256, Stream into, CancellationToken cancellationToken)
    {
        await using var content = await OpenBlobAsync($"models/{Uri.EscapeDataString(model)}/versions/{Uri.EscapeDataString(version)}", sha256, cancellationToken);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[128 * 1024];
        int read;
        while ((read = await content.ReadAsync(buffer, cancellationToken)) > 0)
        {
            hash.AppendData(buffer, 0, read);
            await into.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        if (Convert.ToHexStringLower(hash.GetHashAndReset()) != sha256)
        {
            throw new SlipwayException(ErrorCode.Unavailable, $"What arrived as blob {sha256} of {model} {version} is something else; try again.");
        }
    }

    private async Task<Stream> OpenBlobAsync(string path, string sha256, CancellationToken cancellationToken)
    {
        // The stream ends the response when it is disposed of.
        var response = await _http.GetAsync(new Uri($"/api/slipway/v1/{path}/blobs/{sha256}", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (response.IsSuccessStatusCode)
        {
            return await response.Content.ReadAsStreamAsync(cancellationToken);
        }

        using (response)
        {
            throw await FailureAsync(response, cancellationToken);
        }
    }
}
