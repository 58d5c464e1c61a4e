using System.Globalization;
using Amazon;
using Amazon.Runtime;
using Amazon.Runtime.CredentialManagement;
using Amazon.S3;
using Slipway.Contracts;

namespace Slipway.Storage.S3;

/// <summary>How an S3-compatible store is reached. Not a record: nothing may print the keys by accident.</summary>
public sealed class S3Settings
{
    /// <summary>Address of the store; null for Amazon's own.</summary>
    public Uri? Endpoint { get; init; }

    /// <summary>Region that requests are signed for.</summary>
    public string Region { get; init; } = "us-east-1";

    /// <summary>Whether the bucket stands in the path rather than in the host's name, as most stores other than Amazon's expect.</summary>
    public bool PathStyle { get; init; }

    /// <summary>Access key; null to look in the shared credentials file, then for a role of the machine.</summary>
    public string? AccessKey { get; init; }

    /// <summary>Secret key.</summary>
    public string? SecretKey { get; init; }

    /// <summary>Token of temporary keys; null for lasting ones.</summary>
    public string? SessionToken { get; init; }

    /// <summary>How the store is named in messages.</summary>
    public string Name => Endpoint?.GetLeftPart(UriPartial.Authority) ?? $"Amazon S3 in {Region}";

    /// <summary>
    /// Reads AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
    /// AWS_SESSION_TOKEN, the names that other tools read too.
    /// </summary>
    /// <param name="endpoint">Wins over the environment; null to look there.</param>
    /// <param name="pathStyle"><c>true</c>, <c>false</c> or null: true exactly when there is an endpoint.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the endpoint is no http or https address.</exception>
    public static S3Settings FromEnvironment(string? endpoint = null, string? pathStyle = null)
    {
        var address = Value(endpoint) ?? Variable("AWS_ENDPOINT_URL_S3") ?? Variable("AWS_ENDPOINT_URL");
        Uri? uri = null;
        if (address is not null && (!Uri.TryCreate(address, UriKind.Absolute, out uri) || uri.Scheme is not ("http" or "https") || uri.UserInfo.Length > 0))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The S3 endpoint must be an address such as http://127.0.0.1:9000, without a user; correct --s3-endpoint or AWS_ENDPOINT_URL.");
        }

        bool? asked = Value(pathStyle)?.ToLower(CultureInfo.InvariantCulture) switch
        {
            null => null,
            "true" => true,
            "false" => false,
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, "--s3-path-style must be true or false."),
        };
        return new S3Settings
        {
            Endpoint = uri,
            Region = Variable("AWS_REGION") ?? Variable("AWS_DEFAULT_REGION") ?? "us-east-1",
            PathStyle = asked ?? uri is not null,
            AccessKey = Variable("AWS_ACCESS_KEY_ID"),
            SecretKey = Variable("AWS_SECRET_ACCESS_KEY"),
            SessionToken = Variable("AWS_SESSION_TOKEN"),
        };
    }

    internal AmazonS3Client Connect()
    {
        var config = new AmazonS3Config
        {
            ForcePathStyle = PathStyle,
            ConnectTimeout = TimeSpan.FromSeconds(3),
            // Of one part or of the head of an answer; bodies are not limited by it.
            Timeout = TimeSpan.FromSeconds(100),
            MaxErrorRetry = 2,
            // Payloads are covered by the signature's SHA-256; many compatible stores know neither trailing checksums nor aws-chunked bodies.
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
        };
        if (Endpoint is null)
        {
            config.RegionEndpoint = RegionEndpoint.GetBySystemName(Region);
        }
        else
        {
            config.ServiceURL = Endpoint.AbsoluteUri;
            config.AuthenticationRegion = Region;
        }

        return new AmazonS3Client(Credentials(), config);
    }

    private AWSCredentials Credentials()
    {
        if (AccessKey is { } key && SecretKey is { } secret)
        {
            return SessionToken is { } token ? new SessionAWSCredentials(key, secret, token) : new BasicAWSCredentials(key, secret);
        }

        if (AccessKey is null != SecretKey is null)
        {
            throw Missing($"only {(AccessKey is null ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID")} is set");
        }

        var profile = Variable("AWS_PROFILE") ?? "default";
        if (new CredentialProfileStoreChain(Variable("AWS_SHARED_CREDENTIALS_FILE")).TryGetAWSCredentials(profile, out var found))
        {
            return found;
        }

        // The machine's role is Amazon's: asking for one elsewhere only waits for an address that nobody has.
        return Endpoint is null && (Variable("AWS_EC2_METADATA_DISABLED") ?? "false").Equals("false", StringComparison.OrdinalIgnoreCase)
            ? new InstanceProfileAWSCredentials()
            : throw Missing("none were found");
    }

    private SlipwayException Missing(string why) => new(ErrorCode.FailedPrecondition,
        $"The artifact store at {Name} needs credentials, but {why}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them into the shared credentials file (~/.aws/credentials), and start again.");

    private static string? Variable(string name) => Value(Environment.GetEnvironmentVariable(name));

    private static string? Value(string? text) => string.IsNullOrWhiteSpace(text) ? null : text;
}
