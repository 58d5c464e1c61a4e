using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.Clients;

/// <summary>A server on one of the places where records and files may be kept, each of them real.</summary>
public sealed class Place : IAsyncDisposable
{
    private readonly S3Server? _s3;
    private readonly string _data = SlipwayProgram.NewDataFolder();

    private Place(S3Server? s3) => _s3 = s3;

    /// <summary>Database and file store.</summary>
    public static TheoryData<string> All => ["sqlite, files", "postgresql, files", "sqlite, s3", "postgresql, s3"];

    public RunningServer Server { get; private set; } = null!;

    /// <summary>The address without a slash at its end, as clients take it.</summary>
    public string Address => Server.Address.ToString().TrimEnd('/');

    /// <summary>Starts a server on a new data folder with the database and the file store of this name; leaves the test out where the database is not here.</summary>
    public static async Task<Place> StartAsync(string name, CancellationToken ct)
    {
        var more = new List<string>();
        if (name.StartsWith("postgresql", StringComparison.Ordinal))
        {
            var cluster = Environment.GetEnvironmentVariable("SLIPWAY_TEST_POSTGRES");
            Assert.SkipWhen(string.IsNullOrEmpty(cluster), "There is no PostgreSQL: test.sh starts one and names it in SLIPWAY_TEST_POSTGRES.");
            more.AddRange(["--database", $"{cluster}?search_path=clients_{Guid.NewGuid():N}"]);
        }

        var place = new Place(name.EndsWith("s3", StringComparison.Ordinal) ? await S3Server.StartAsync() : null);
        var environment = new Dictionary<string, string>();
        if (place._s3 is { } s3)
        {
            more.AddRange(["--artifacts-destination", $"s3://{S3Server.Bucket}/files", "--s3-endpoint", s3.Address.ToString()]);
            environment["AWS_ACCESS_KEY_ID"] = s3.Settings.AccessKey!;
            environment["AWS_SECRET_ACCESS_KEY"] = s3.Settings.SecretKey!;
        }

        place.Server = await RunningServer.StartAsync(place._data, environment, ct, [.. more]);
        return place;
    }

    public async ValueTask DisposeAsync()
    {
        if (Server is not null)
        {
            await Server.DisposeAsync();
        }

        if (_s3 is not null)
        {
            await _s3.DisposeAsync();
        }

        Directory.Delete(_data, recursive: true);
    }
}
