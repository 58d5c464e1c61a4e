using System.Globalization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;
using Slipway.Contracts.Registry;

namespace Slipway.Serving;

/// <summary>The headers that tell callers of a deprecated version, written once: <c>Deprecation</c> of RFC 9745, <c>Sunset</c> of RFC 8594.</summary>
internal sealed class DeprecationNotice(Deprecation deprecation)
{
    private readonly StringValues _since = $"@{deprecation.At.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)}";
    private readonly StringValues _sunset = deprecation.EndOfLife is { } end ? end.UtcDateTime.ToString("R", CultureInfo.InvariantCulture) : StringValues.Empty;

    public static DeprecationNotice? Of(Deprecation? deprecation) => deprecation is null ? null : new DeprecationNotice(deprecation);

    public void Write(IHeaderDictionary headers)
    {
        headers["Deprecation"] = _since;
        if (_sunset.Count > 0)
        {
            headers["Sunset"] = _sunset;
        }
    }
}
