using System.Collections.Frozen;
using System.IO.Compression;
using System.Security.Cryptography;

namespace Slipway.Web.Pages;

/// <summary>
/// The pages' files: small, few, held in memory. The address carries a digest of the content, so that a browser may keep a file
/// for ever and a new build is seen at once.
/// </summary>
public sealed class Assets
{
    private readonly FrozenDictionary<string, Asset> _byName;

    public Assets()
        : this(Path.Combine(AppContext.BaseDirectory, "wwwroot"))
    {
    }

    internal Assets(string folder) => _byName = (Directory.Exists(folder) ? Directory.EnumerateFiles(folder) : [])
        .ToFrozenDictionary(path => Path.GetFileName(path), path => new Asset(Path.GetFileName(path), File.ReadAllBytes(path)), StringComparer.Ordinal);

    /// <summary>The address of a file, such as <c>/assets/1a2b3c4d5e6f/site.css</c>.</summary>
    public string Url(string name) => _byName.TryGetValue(name, out var asset) ? $"/assets/{asset.Digest}/{name}" : $"/assets/missing/{name}";

    internal IResult Serve(HttpContext context, string digest, string name)
    {
        if (!_byName.TryGetValue(name, out var asset))
        {
            return Results.NotFound();
        }

        var headers = context.Response.Headers;
        headers.XContentTypeOptions = "nosniff";
        // A page of the build before may ask for an old digest: it gets today's file, but must not keep it under that name.
        headers.CacheControl = digest == asset.Digest ? "public, max-age=31536000, immutable" : "no-cache";
        headers.Vary = "Accept-Encoding";
        if (context.Request.Headers.AcceptEncoding.ToString().Contains("br", StringComparison.OrdinalIgnoreCase))
        {
            headers.ContentEncoding = "br";
            return Results.Bytes(asset.Brotli.Value, asset.ContentType);
        }

        return Results.Bytes(asset.Content, asset.ContentType);
    }

    private sealed class Asset(string name, byte[] content)
    {
        public byte[] Content { get; } = content;

        public string Digest { get; } = Convert.ToHexStringLower(SHA256.HashData(content))[..12];

        public string ContentType { get; } = Path.GetExtension(name) switch
        {
            ".css" => "text/css; charset=utf-8",
            ".js" => "text/javascript; charset=utf-8",
            ".svg" => "image/svg+xml",
            _ => "application/octet-stream",
        };

        public Lazy<byte[]> Brotli { get; } = new(() =>
        {
            using var packed = new MemoryStream();
            using (var brotli = new BrotliStream(packed, CompressionLevel.Optimal))
            {
                brotli.Write(content);
            }

            return packed.ToArray();
        });
    }
}
