using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts;

namespace Slipway.Serving.Grpc;

/// <summary>How a call ended. https://github.com/grpc/grpc/blob/master/doc/statuscodes.md</summary>
public static class GrpcStatus
{
    internal const int DeadlineExceeded = 4;
    internal const int Internal = 13;

    private const int SentenceMax = 1000;

    /// <summary>The status of a failure; null is a fault of ours.</summary>
    public static int Of(ErrorCode? code) => code switch
    {
        ErrorCode.InvalidArgument => 3,
        ErrorCode.NotFound => 5,
        ErrorCode.AlreadyExists => 6,
        ErrorCode.PermissionDenied => 7,
        ErrorCode.TooLarge or ErrorCode.ResourceExhausted => 8,
        ErrorCode.FailedPrecondition => 9,
        ErrorCode.NotImplemented => 12,
        ErrorCode.Unavailable => 14,
        ErrorCode.Unauthenticated => 16,
        _ => Internal,
    };

    /// <summary>Ends a call that has sent nothing: status and sentence travel as headers then.</summary>
    public static void Write(HttpResponse response, int status, string message)
    {
        response.StatusCode = StatusCodes.Status200OK;
        response.ContentType = "application/grpc";
        response.Headers["grpc-status"] = status.ToString(CultureInfo.InvariantCulture);
        response.Headers["grpc-message"] = Encode(message);
    }

    /// <summary>A sentence as the protocol carries it: printable ASCII, all else as %XX of its UTF-8.</summary>
    internal static string Encode(string message)
    {
        // Clients take some 8 KiB of headers, and a sentence may quote what the caller sent.
        var told = message.Length <= SentenceMax ? message : $"{message[..SentenceMax]}…";
        var encoded = new StringBuilder(told.Length);
        foreach (var value in Encoding.UTF8.GetBytes(told))
        {
            _ = value is >= 0x20 and <= 0x7E and not (byte)'%' ? encoded.Append((char)value) : encoded.Append(CultureInfo.InvariantCulture, $"%{value:X2}");
        }

        return encoded.ToString();
    }
}
