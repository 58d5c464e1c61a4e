using Slipway.Cli;
using Slipway.Contracts;

namespace Slipway.Tests.Client;

/// <summary>What the command line is told of a server.</summary>
[Trait("database", "none")]
public sealed class ConnectionTests
{
    [Theory]
    [InlineData("x\ny")]
    [InlineData("token\r")]
    [InlineData("two words")]
    [InlineData("\0")]
    [InlineData("größer")]
    public void A_token_that_no_header_can_carry_is_refused_without_being_shown(string token)
    {
        var fault = Assert.Throws<SlipwayException>(() => ConnectionOptions.Connect("http://127.0.0.1:5000", token));

        Assert.Equal(ErrorCode.InvalidArgument, fault.Code);
        Assert.Contains("The token (--token or SLIPWAY_TOKEN) holds a space, a line end", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(token, fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ftp://127.0.0.1")]
    [InlineData("here")]
    public void An_address_that_is_none_is_refused(string server) =>
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => ConnectionOptions.Connect(server, "abc")).Code);

    [Fact]
    public void An_address_and_a_token_make_a_client()
    {
        using var client = ConnectionOptions.Connect("http://127.0.0.1:5000", "slw_A-b.c~d+e/f=");
        Assert.Equal(5000, client.Server.Port);
    }
}
